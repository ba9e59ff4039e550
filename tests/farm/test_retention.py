"""What is forgotten and what stays; what top, metrics and doctor see."""

import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from farm.database import Database
from farm.doctor import examine
from farm.health import by_hand
from farm.jobs import results, status
from farm.metrics import render_metrics
from farm.observation import order
from farm.parts import accept
from farm.retention import RetentionPolicy, forget
from farm.snapshot import take_snapshot
from farm.tables import EVENTS, FILES
from harness.host.cache import Cache, content_key
from tests.farm.jobs_in import HOST, a_run, add_devices, claim_on, submit_ready


@pytest.fixture
def farm(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    add_devices(database, ["a", "b"])
    return database


def ended_job(farm: Database) -> str:
    job = submit_ready(farm)
    claimed = claim_on(farm, "a")
    assert claimed is not None
    with farm.begin() as connection:
        accept(connection, claimed, a_run())
    return job


def entry(cache: Cache, name: str, days: float, size: int = 10) -> Path:
    key = content_key({"name": name})
    with cache.fill("lowered", key) as folder:
        (folder / "file").write_bytes(b"x" * size)
    path = cache.entry("lowered", key)
    at = time.time() - days * 86400
    os.utime(path, (at, at))
    return path


def test_results_stay_and_words_go(farm: Database, tmp_path: Path) -> None:
    ended, live = ended_job(farm), submit_ready(farm)
    with farm.begin() as connection:
        connection.execute(EVENTS.update().values(at=0.0))
    gone = forget(farm, Cache(tmp_path / "cache"), tmp_path / "store", HOST, RetentionPolicy())
    assert gone.events == 3
    assert len(results(farm, ended)) == 1
    assert status(farm, live).state == "queued"
    assert take_snapshot(farm).events == {"submitted": 1}


def test_old_artifacts_go_and_are_made_again_before_a_claim(farm: Database, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    old, new = entry(cache, "old", 40), entry(cache, "new", 1)
    submit_ready(farm)
    gone = forget(farm, cache, tmp_path / "store", HOST, RetentionPolicy())
    assert (gone.cache_entries, gone.cache_bytes) == (1, 10)
    assert not old.exists()
    assert new.exists()
    assert claim_on(farm, "a") is None


def test_the_oldest_make_room(farm: Database, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    paths = [entry(cache, f"entry {days}", days, 100) for days in (3, 2, 1)]
    forget(farm, cache, tmp_path / "store", HOST, RetentionPolicy(cache_bytes=250))
    assert [path.exists() for path in paths] == [False, True, True]


def test_files_go_when_no_live_job_names_them(farm: Database, tmp_path: Path) -> None:
    store, month = tmp_path / "store", time.time() - 31 * 86400
    live, old, new = (str(number) * 64 for number in range(3))
    for digest in (live, old, new):
        (store / digest).mkdir(parents=True)
        (store / digest / "model.tflite").write_bytes(b"x")
        os.utime(store / digest, (month, month) if digest != new else None)
    rows = [
        {"sha256": digest, "number": 0, "at": time.time() if digest == new else month, "data": b"x"}
        for digest in (live, old, new)
    ]
    with farm.begin() as connection:
        connection.execute(FILES.insert(), rows)
    submit_ready(farm, model=f"stored:{live}/model.tflite")
    gone = forget(farm, Cache(tmp_path / "cache"), store, HOST, RetentionPolicy())
    assert gone.files == 1
    assert sorted(path.name for path in store.iterdir()) == [live, new]
    with farm.begin() as connection:
        kept = connection.execute(sa.select(FILES.c.sha256).order_by(FILES.c.sha256)).scalars()
        assert list(kept) == [live, new]


def test_metrics_tell_what_is(farm: Database) -> None:
    ended_job(farm)
    submit_ready(farm)
    assert claim_on(farm, "b") is not None
    order(farm, "a", by_hand("maintenance", "fan"))
    lines = render_metrics(farm).decode().splitlines()
    assert 'edgefarm_jobs_total{outcome="PASS"} 1.0' in lines
    assert 'edgefarm_parts{state="running"} 1.0' in lines
    assert 'edgefarm_device_health{device="a",host="lab-1",state="maintenance"} 1.0' in lines
    assert 'edgefarm_device_leased{device="b"} 1.0' in lines


def test_the_doctor_names_what_to_mend(farm: Database) -> None:
    submit_ready(farm, selector="name=a")
    order(farm, "a", by_hand("maintenance", "fan"))
    items = {item.name: item for item in examine(farm, ())}
    assert "edgefarm worker" in items["workers"].remedy
    assert "edgefarm device resume" in items["device a"].remedy
    assert "no healthy device" in items["line"].found
    assert not items["line"].ok
    assert items["home folder"].ok
