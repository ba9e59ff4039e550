"""The server as one sees it who has only HTTP and a token."""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from farm.events import add_event
from farm.job_files import clear_abandoned
from farm.jobs import status
from farm.parts import accept
from harness.artifact import Artifact, Manifest, save_manifest, sha256_file
from harness.records import Run
from tests.farm.jobs_in import a_run, claim_on, mark_prepared
from tests.farm.server.conftest import JOB, UPLOAD_BYTES, MakeArchive, Served

PATHS = [
    ("GET", "/limits"),
    ("GET", "/jobs"),
    ("POST", "/jobs"),
    ("GET", "/snapshot"),
    ("GET", "/doctor"),
    ("GET", "/jobs/x"),
    ("POST", "/jobs/x/cancel"),
    ("GET", "/jobs/x/events"),
    ("GET", "/jobs/x/stream"),
    ("GET", "/jobs/x/runs"),
    ("GET", f"/jobs/x/artifacts/{'0' * 64}"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_without_a_good_token(served: Served, method: str, path: str) -> None:
    forged = "edgefarm_0123456789ab_" + "A" * 43
    for token in (None, "", "x", forged, served.tokens["operate"][:-1]):
        answer = served.call(method, path, token)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"]["kind"] == "UsageError"


def test_the_list_above_is_all_there_is(served: Served) -> None:
    paths = served.call("GET", "/openapi.json", None).json()["paths"]
    told = {(method.upper(), path) for path, item in paths.items() for method in item}
    names = [(m, p.replace("/x", "/{job}").replace("0" * 64, "{sha256}")) for m, p in PATHS]
    assert told == set(names)


def test_a_reader_cannot_submit_nor_cancel(served: Served, archive: MakeArchive) -> None:
    job = served.send(archive()).json()["job"]
    assert served.send(archive(nonce="2"), "read").status_code == 403
    assert served.call("POST", f"/jobs/{job}/cancel", "read").status_code == 403
    assert len(served.call("GET", "/jobs", "read").json()) == 1


def test_the_same_archive_is_the_same_job(served: Served, archive: MakeArchive) -> None:
    first = served.send(archive({**JOB, "label": "one"}))
    assert first.status_code == 201
    job = first.json()["job"]
    assert served.send(archive({**JOB, "label": "one"})).json()["job"] == job
    finish(served, job)
    assert served.send(archive({**JOB, "label": "one"})).json()["job"] == job
    assert served.send(archive({**JOB, "label": "one"}, nonce="2")).json()["job"] != job
    assert served.call("GET", f"/jobs/{job}").json()["request"]["submitter"] == "submit"


def test_a_recipe_arrives_as_it_was_sent(served: Served, archive: MakeArchive) -> None:
    recipe = {"name": "r", "mode": "static", "weight_bits": 8, "activation_bits": 8}
    job = served.send(archive({**JOB, "recipe": recipe})).json()["job"]
    asked = served.call("GET", f"/jobs/{job}").json()["request"]["recipe"]
    scheme = {key: recipe[key] for key in ("mode", "weight_bits", "activation_bits")}
    assert asked["name"] == "r"
    assert scheme.items() <= asked["scheme"].items()
    for wrong in ({**recipe, "weight_bits": "8"}, {**recipe, "more": 1}, {"name": "r"}):
        refused = served.send(archive({**JOB, "recipe": wrong}))
        assert refused.status_code == 400
        assert "recipe" in refused.json()["error"]["message"]


def test_two_tokens_that_send_the_same_have_a_job_each(
    served: Served, archive: MakeArchive
) -> None:
    mine, theirs = (served.send(archive(), role).json()["job"] for role in ("submit", "other"))
    assert mine != theirs
    assert served.send(archive()).json()["job"] == mine
    own = served.call("GET", "/jobs?mine=true", "other").json()
    assert [one["id"] for one in own] == [theirs]
    refused = served.call("POST", f"/jobs/{mine}/cancel", "other")
    assert refused.status_code == 403
    assert "belongs to 'submit'" in refused.json()["error"]["message"]
    assert served.call("GET", f"/jobs/{mine}").json()["state"] == "queued"
    assert served.call("POST", f"/jobs/{theirs}/cancel", "other").json()["cancelled"]
    assert served.call("POST", f"/jobs/{mine}/cancel", "operate").json()["cancelled"]
    told = served.call("GET", f"/jobs/{mine}/events").json()
    assert [one["message"] for one in told if one["kind"] == "cancelled"] == ["by operate"]


def test_only_an_operator_asks_the_doctor(served: Served) -> None:
    assert served.call("GET", "/doctor", "submit").status_code == 403
    found = {one["name"]: one for one in served.call("GET", "/doctor", "operate").json()}
    assert found["database"]["ok"]
    assert not found["workers"]["ok"]


def finish(served: Served, job: str) -> Run:
    """Do a worker's work."""
    mark_prepared(served.database, status(served.database, job).request)
    claimed = claim_on(served.database, "a")
    assert claimed is not None
    assert claimed.job == job
    run = a_run()
    with served.database.begin() as connection:
        add_event(connection, "progress", "run 1 of 5", job=job, part=claimed.part, device="a")
        assert accept(connection, claimed, run)
    return run


def chunked(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 10_000):
        yield content[start : start + 10_000]


def test_an_oversize_upload_is_refused_told_or_not(served: Served) -> None:
    content = b"PK\3\4" + bytes(UPLOAD_BYTES)
    for body in (content, chunked(content)):
        answer = served.send(body)
        assert answer.status_code == 413
        assert str(UPLOAD_BYTES) in answer.json()["error"]["message"]
    assert not [path for path in served.settings.store.rglob("*") if path.is_file()]


def test_a_bomb_a_traversal_and_code_are_refused(served: Served, archive: MakeArchive) -> None:
    for content, said in (
        (archive(members={"data.npz": bytes(3_000_000)}), "unpacks to more"),
        (archive({**JOB, "model": "../m.tflite"}, {"../m.tflite": b"", "conv.tflite": None}), "pl"),
        (archive({**JOB, "model": "m.pt2"}, {"m.pt2": b"", "conv.tflite": None}), "torch runs"),
        (archive({**JOB, "model": "m.py:f"}), "must name"),
        (b"no zip", "not a readable zip"),
    ):
        answer = served.send(content)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]
    assert served.call("GET", "/jobs").json() == []
    assert not [path for path in served.settings.store.rglob("*") if path.is_file()]


def test_other_trouble_with_a_submit(served: Served, archive: MakeArchive) -> None:
    assert served.send(archive(), **{"Content-Type": "text/plain"}).status_code == 415
    nowhere = served.send(archive({**JOB, "selector": "tag=moon"}))
    assert (nowhere.status_code, nowhere.json()["error"]["kind"]) == (409, "NoDevice")
    after = served.send(archive({**JOB, "depends_on": "x"}))
    assert (after.status_code, after.json()["error"]["kind"]) == (400, "UsageError")


def test_ones_own_jobs_are_cancelled_others_by_an_operator(
    served: Served, archive: MakeArchive
) -> None:
    job = served.send(archive()).json()["job"]
    refused = served.call("POST", f"/jobs/{job}/cancel", "other")
    assert refused.status_code == 403
    assert "'submit'" in refused.json()["error"]["message"]
    assert served.call("POST", f"/jobs/{job}/cancel").json() == {"cancelled": True}
    assert served.call("POST", f"/jobs/{job}/cancel", "operate").json() == {"cancelled": False}


def test_a_job_is_followed_to_its_end(served: Served, archive: MakeArchive) -> None:
    job = served.send(archive()).json()["job"]
    with served.call("GET", f"/jobs/{job}/stream", "read", stream=True) as answer:
        threading.Timer(0.3, finish, (served, job)).start()
        lines = [line for line in answer.iter_lines(decode_unicode=True) if line]
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert kinds == ["submitted", "started", "progress", "ended", "end"]
    told = served.call("GET", f"/jobs/{job}/events").json()
    sent = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert sent == [*told, {}]
    last = {"Last-Event-ID": str(told[1]["id"])}
    rest = served.call("GET", f"/jobs/{job}/stream", headers=last).text
    assert rest.count("event:") == 3
    assert served.call("GET", f"/jobs/{job}").json()["outcome"] == "PASS"


def test_runs_and_artifacts(served: Served, archive: MakeArchive, files: Path) -> None:
    job = served.send(archive()).json()["job"]
    finish(served, job)
    (run,) = served.call("GET", f"/jobs/{job}/runs", "read").json()
    assert run["outcome"] == "PASS"
    other = served.call("GET", f"/jobs/{job}/artifacts/{sha256_file(files / 'conv.tflite')}")
    assert other.status_code == 404


def test_the_artifact_of_a_run_is_given(
    served: Served, archive: MakeArchive, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = files / "conv.tflite"
    sha256 = sha256_file(model)
    manifest = Manifest(sha256, model.stat().st_size, "litert", "host-litert", "", "m", (), ())
    with served.settings.cache.fill("artifacts", "0" * 32) as folder:
        (folder / "model.tflite").write_bytes(model.read_bytes())
        save_manifest(Artifact(folder / "model.tflite", manifest))
    job = served.send(archive()).json()["job"]
    run = replace(a_run(), manifest=manifest)
    monkeypatch.setattr("tests.farm.server.test_server.a_run", lambda: run)
    finish(served, job)
    answer = served.call("GET", f"/jobs/{job}/artifacts/{sha256}", "read")
    assert answer.content == model.read_bytes()


@pytest.mark.parametrize("path", ["", "/events", "/stream", "/runs", f"/artifacts/{'0' * 64}"])
def test_an_unknown_job_is_not_found(served: Served, path: str) -> None:
    assert served.call("GET", f"/jobs/nothing{path}").status_code == 404
    assert served.call("GET", f"/jobs/..%2f{path}").status_code in (404, 422)
    assert served.call("GET", f"/jobs/a%00{path}").status_code == 422


def test_a_database_that_does_not_answer_is_no_traceback(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_options: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr("farm.jobs.recent_jobs", fails)
    answer = served.call("GET", "/jobs")
    assert answer.status_code == 503
    assert "gone" not in answer.text


def test_abandoned_uploads_are_cleared(served: Served) -> None:
    store = served.settings.store
    for name in (".unpacking-x", ".fetching-x"):
        (store / name).mkdir(parents=True)
    for name in (".upload-old", ".upload-new", "kept"):
        (store / name).write_text("")
    old = time.time() - 2 * 86400
    for name in (".unpacking-x", ".fetching-x", ".upload-old", "kept"):
        os.utime(store / name, (old, old))
    clear_abandoned(store)
    assert sorted(path.name for path in store.iterdir()) == [".upload-new", "kept"]
