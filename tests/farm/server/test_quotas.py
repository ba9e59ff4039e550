"""What one token may send and have in line: sizes, ratios, marks, parts, priority and time."""

import io
import socket
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farm.archive import ArchiveLimits, unpack
from farm.database import open_database
from farm.jobs import submit
from farm.quota import Quota
from farm.server import uploads
from harness.errors import OverQuota, UsageError
from tests.farm.jobs_in import add_devices, request
from tests.farm.server.conftest import JOB, MakeArchive, Served, running

TIGHT = ArchiveLimits(unpacked_bytes=4_000_000, pt2=True, ratio=20, small_bytes=50_000)


def npz(*, method: int = zipfile.ZIP_DEFLATED, size: int = 1_000_000, copies: int = 1) -> bytes:
    """Zeros, packed."""
    array, packed = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros((size // 4,), np.float32))
    with zipfile.ZipFile(packed, "w", method) as archive:
        for number in range(copies):
            archive.writestr(f"in{number}.npy", array.getvalue())
    return packed.getvalue()


def pickled() -> bytes:
    packed = io.BytesIO()
    np.savez(packed, in0=np.array([{}], object))
    return packed.getvalue()


def folded() -> bytes:
    """A directory that names one small member many times: it unpacks to far more than it has."""
    once = npz(size=40_000)
    start = once.index(b"PK\x01\x02")
    entry, end = once[start:-22], once[-22:]
    count = (4000).to_bytes(2, "little")
    size = (len(entry) * 4000).to_bytes(4, "little")
    return once[:start] + entry * 4000 + end[:8] + count + count + size + end[16:]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"conv.tflite": b"\0\0\0\0TFL2" + bytes(100)}, "conv.tflite: is no .tflite file"),
        ({"conv.tflite": b""}, "conv.tflite: is no .tflite file"),
        ({"conv.tflite": b"TFL3"}, "conv.tflite: is no .tflite file"),
        ({"data.npz": b"\x93NUMPY"}, "data.npz: is no .npz file"),
        ({"data.npz": b"PK\3\4" + bytes(100)}, "not a readable zip file"),
        ({"data.npz": npz()}, "more than 20 times"),
        ({"data.npz": npz(size=3_000_000, copies=2)}, "more than 4000000 bytes"),
        ({"data.npz": npz(method=zipfile.ZIP_BZIP2)}, "method 12|more than 20 times"),
        ({"data.npz": npz(method=zipfile.ZIP_LZMA, size=20_000)}, "method 14"),
        ({"data.npz": npz(method=zipfile.ZIP_BZIP2, size=20_000)}, "method 12"),
        ({"data.npz": folded()}, "more than"),
        ({"data.npz": pickled()}, "no pickles"),
        ({"conv.tflite": None, "m.pt2": b"\0\0\0\0TFL3"}, "m.pt2: is no .pt2 file"),
        ({"conv.tflite": None, "m.pt2": npz()}, "more than 20 times"),
        ({"conv.tflite": b"\0\0\0\0TFL3" + bytes(2_000_000)}, "more than 20 times"),
    ],
)
def test_a_bomb_or_what_is_no_model_or_data_is_refused_at_once(
    tmp_path: Path, archive: MakeArchive, members: dict[str, bytes | None], said: str
) -> None:
    model = next((name for name in members if name.endswith(".pt2")), "conv.tflite")
    (tmp_path / "sent.zip").write_bytes(archive({**JOB, "model": model}, members))
    with pytest.raises(UsageError, match=said) as refused:
        unpack(tmp_path / "sent.zip", tmp_path / "store", TIGHT, "me")
    assert str(tmp_path) not in str(refused.value)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_data_that_packs_well_but_is_small_is_taken(tmp_path: Path, archive: MakeArchive) -> None:
    (tmp_path / "sent.zip").write_bytes(archive(members={"data.npz": npz(size=10_000)}))
    assert unpack(tmp_path / "sent.zip", tmp_path / "store", TIGHT, "me").submitter == "me"


def test_an_upload_that_does_not_begin_as_an_archive_is_refused_before_it_is_sent(
    served: Served,
) -> None:
    """The rest never comes; the answer does."""
    head = (
        "POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\n"
        f"Authorization: Bearer {served.tokens['submit']}\r\nContent-Length: 100000\r\n\r\n"
    )
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(head.encode() + b"P")
        client.sendall(b"X")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_one_token_sends_so_much_within_a_day(served: Served, archive: MakeArchive) -> None:
    size = len(archive())
    with running(served.database, replace(served.settings, day_bytes=2 * size)) as url:
        there = replace(served, url=url)
        answers = [there.send(archive(nonce=str(number))) for number in range(8)]
        assert answers[0].status_code == 201
        last = answers[-1]
        assert last.status_code == 429
        assert "within a day" in last.json()["error"]["message"]
        assert there.send(archive(), "other").status_code == 201


def test_what_was_sent_for_nothing_counts_too(served: Served) -> None:
    with running(served.database, replace(served.settings, day_bytes=10_000)) as url:
        there, junk = replace(served, url=url), b"PK\3\4" + bytes(6_000)
        assert [there.send(junk).status_code for _ in range(3)] == [400, 413, 413]


def test_one_token_sends_few_archives_at_once(
    served: Served, archive: MakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_AT_ONCE", 1)
    head = (
        "POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\n"
        f"Authorization: Bearer {served.tokens['submit']}\r\nContent-Length: 100000\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        assert served.send(archive()).status_code == 429
        assert served.send(archive(), "other").status_code == 201


@pytest.mark.parametrize(
    ("quota", "more", "said"),
    [
        (Quota(), {"priority": 1}, "priority 1: this farm allows 0"),
        (Quota(priority=5), {"priority": 6}, "priority 6: this farm allows 5"),
        (Quota(), {"time_limit_s": 86400.0}, "time_limit_s 86400.0: this farm allows 21600"),
        (Quota(parts=1), {"selector": "each"}, "2 parts are not done; allowed: 1"),
        (Quota(device_s=7200.0), {"attempts": 3}, "may take 3 hours of devices; allowed: 2"),
    ],
)
def test_a_job_over_the_quota_is_refused_but_an_operators(
    served: Served, archive: MakeArchive, quota: Quota, more: dict[str, object], said: str
) -> None:
    with running(served.database, replace(served.settings, quota=quota)) as url:
        there, content = replace(served, url=url), archive({**JOB, **more})
        refused = there.send(content)
        assert refused.status_code == 429
        assert refused.json()["error"]["kind"] == "OverQuota"
        assert said in refused.json()["error"]["message"]
        assert there.call("GET", "/jobs").json() == []
        assert there.send(content, "operate").status_code == 201


def test_parts_in_line_count_and_those_that_are_done_do_not(
    served: Served, archive: MakeArchive
) -> None:
    with running(served.database, replace(served.settings, quota=Quota(parts=2))) as url:
        there = replace(served, url=url)
        sent = [there.send(archive({**JOB, "label": str(n)}, nonce=str(n))) for n in range(3)]
        assert [one.status_code for one in sent] == [201, 201, 429]
        again = there.send(archive({**JOB, "label": "0"}, nonce="0"))
        assert again.json()["job"] == sent[0].json()["job"]
        assert there.send(archive(), "other").status_code == 201
        there.call("POST", f"/jobs/{sent[0].json()['job']}/cancel")
        assert there.send(archive({**JOB, "label": "2"}, nonce="2")).status_code == 201


def test_time_of_devices_is_counted_over_all_jobs(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    add_devices(database, ["a"])
    quota = Quota(device_s=2.5 * 3600 * 3)
    for label in ("0", "1"):
        submit(database, request(label=label, submitter="me"), quota=quota)
    with pytest.raises(OverQuota, match="hours of devices"):
        submit(database, request(label="2", submitter="me"), quota=quota)
    submit(database, request(label="2", submitter="you"), quota=quota)
    database.close()


def test_what_was_sent_is_remembered_by_the_next_server(
    served: Served, archive: MakeArchive
) -> None:
    settings = replace(served.settings, day_bytes=2 * len(archive()))
    answers = []
    for number in range(8):
        with running(served.database, settings) as url:
            there = replace(served, url=url)
            answers.append(there.send(archive(nonce=str(number))).status_code)
    assert answers[0] == 201
    assert answers[-1] == 429


def test_what_was_broken_off_counts_too(served: Served) -> None:
    head = (
        "POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\n"
        f"Authorization: Bearer {served.tokens['submit']}\r\nContent-Length: 9000\r\n\r\n"
    )
    with running(served.database, replace(served.settings, day_bytes=10_000)) as url:
        there = replace(served, url=url)
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 10) as one:
                one.sendall(head.encode() + b"PK\3\4" + bytes(5_996))
                time.sleep(0.2)  # or its end is seen before its bytes
            while there.call("GET", "/limits").status_code != 200:
                time.sleep(0.1)
        deadline = time.monotonic() + 20
        while there.send(b"PK\3\4" + bytes(5_000)).status_code != 413:
            assert time.monotonic() < deadline
            time.sleep(0.1)
