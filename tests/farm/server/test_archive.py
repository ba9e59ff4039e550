"""Archives from anywhere: what is not plainly right is refused, and writes nothing."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm.archive import ArchiveLimits, pack, unpack
from farm.job import job_request
from harness.artifact import sha256_file
from harness.errors import HarnessError, UsageError
from harness.host.cache import Cache
from tests.farm.server.conftest import JOB, MakeArchive

LIMITS = ArchiveLimits(unpacked_bytes=1_000_000)


def unpacked(tmp_path: Path, content: bytes, limits: ArchiveLimits = LIMITS) -> object:
    file = tmp_path / "sent.zip"
    file.write_bytes(content)
    return unpack(file, tmp_path / "store", limits, "me")


def left_in(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file()] if store.exists() else []


def test_the_files_lie_in_the_store_by_content(
    tmp_path: Path, archive: MakeArchive, files: Path
) -> None:
    job = unpacked(tmp_path, archive())
    again = unpacked(tmp_path, archive(nonce="2"))
    assert job == again
    digest = sha256_file(files / "conv.tflite")
    model = tmp_path / "store" / digest / "conv.tflite"
    assert job == job_request(
        {**JOB, "model": str(model), "data": str(getattr(job, "data", "")), "submitter": "me"}
    )
    assert sha256_file(model) == digest
    assert len(left_in(tmp_path / "store")) == 2


def test_the_archive_cannot_say_who_sent_it(tmp_path: Path, archive: MakeArchive) -> None:
    job = unpacked(tmp_path, archive({**JOB, "submitter": "the boss"}))
    assert getattr(job, "submitter", "") == "me"


def named(name: str) -> Callable[[MakeArchive], bytes]:
    return lambda make: make({**JOB, "model": name}, {"conv.tflite": None, name: b"x"})


def with_link(make: MakeArchive) -> bytes:
    stream = io.BytesIO(make(members={"data.npz": None}))
    with zipfile.ZipFile(stream, "a") as archive:
        link = zipfile.ZipInfo("data.npz")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return stream.getvalue()


def twice(make: MakeArchive) -> bytes:
    stream = io.BytesIO(make(members={"data.npz": None}))
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("conv.tflite", b"x")
    return stream.getvalue()


def lying_about_size(make: MakeArchive) -> bytes:
    """A bomb whose directory says that it is small."""
    content = make(members={"data.npz": bytes(3_000_000)})
    return content.replace((3_000_000).to_bytes(4, "little"), (3_000).to_bytes(4, "little"))


def compressed_by(method: int) -> Callable[[MakeArchive], bytes]:
    """zipfile unpacks bzip2 and LZMA without a limit: a few hundred bytes here become megabytes."""

    def make(make: MakeArchive) -> bytes:
        stream = io.BytesIO(make(members={"data.npz": None}))
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("data.npz", bytes(900_000), method)
        return stream.getvalue()

    return make


def of_many_members(make: MakeArchive) -> bytes:
    """A directory of 5 MiB; zipfile would read one of gigabytes, and make an object of each."""
    stream = io.BytesIO(make())
    with zipfile.ZipFile(stream, "a") as archive:
        for number in range(100):
            member = zipfile.ZipInfo(f"{number}")
            member.comment = bytes(65_000)
            archive.writestr(member, b"")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make_bad", "said"),
    [
        (lambda _make: b"", "not a readable zip"),
        (lambda make: make()[:-30], "not a readable zip"),
        (lambda make: make(members={"data.npz": bytes(3_000_000)}), "more than 1000000 bytes"),
        (lying_about_size, "not a readable zip|more than 1000000 bytes"),
        (compressed_by(zipfile.ZIP_BZIP2), "method 12; allowed: stored, deflated"),
        (compressed_by(zipfile.ZIP_LZMA), "method 14; allowed: stored, deflated"),
        (of_many_members, "its directory is too large"),
        (lambda make: make(members={"more.txt": b"x"}), "got 4"),
        (lambda make: make(members={"request.json": None}), "got 2"),
        (named("../conv.tflite"), "without folders"),
        (named("/tmp/conv.tflite"), "without folders"),  # noqa: S108  a name in an archive
        (named("a/../../conv.tflite"), "without folders"),
        (named("..\\conv.tflite"), "without folders"),
        (named("C:conv.tflite"), "without folders"),
        (named(".conv.tflite"), "without folders"),
        (with_link, "plain files"),
        (twice, "got 3"),
        (named("conv.pt2"), "torch runs code"),
        (named("conv.py"), "must name the archive's .tflite or .pt2"),
        (lambda make: make({**JOB, "model": "/etc/passwd"}), "must name"),
        (lambda make: make({**JOB, "model": "zoo:digits-cnn"}), "must name"),
        (lambda make: make({**JOB, "data": "conv.tflite"}), "must name the archive's .npz"),
        (lambda make: make({**JOB, "data": ["data.npz"]}), "must name"),
        (lambda make: make({**JOB, "target": "toaster"}), "no such target"),
        (lambda make: make({**JOB, "threads": 0}), "threads"),
        (lambda make: make({**JOB, "label": "a\0b"}), "NUL"),
        (lambda make: make({**JOB, "more": 1}), "more"),
        (lambda make: make("job"), "expected an object"),
        (lambda make: make(members={"request.json": b"[" * 100_000}), "not JSON"),
        (lambda make: make(members={"request.json": b" " * (1 << 21)}), "more than"),
        (lambda make: make(members={"request.json": b"\xff"}), "not JSON"),
    ],
)
def test_what_is_not_allowed_is_refused(
    tmp_path: Path, archive: MakeArchive, make_bad: Callable[[MakeArchive], bytes], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        unpacked(tmp_path, make_bad(archive))
    assert left_in(tmp_path / "store") == []


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_archive_ends_in_a_usage_error_or_is_whole(
    tmp_path: Path, archive: MakeArchive, at: int, flip: int, cut: bool
) -> None:
    content = bytearray(archive())
    at %= len(content)
    content[at] ^= flip
    with suppress(UsageError):
        unpacked(tmp_path, bytes(content[:at] if cut else content))
    assert not list((tmp_path / "store").glob(".unpacking-*"))


def test_a_full_disk_takes_nothing(
    tmp_path: Path, archive: MakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    with pytest.raises(HarnessError, match="disk is full"):
        unpacked(tmp_path, archive())
    assert left_in(tmp_path / "store") == []


def test_pack_makes_what_unpack_takes(tmp_path: Path, files: Path) -> None:
    asked = job_request(
        {
            "model": str(files / "conv.tflite"),
            "data": str(files / "data.npz"),
            "target": "host-litert",
            "label": "mine",
        }
    )
    pack(asked, tmp_path / "job.zip", cache=Cache(tmp_path / "cache"))
    job = unpack(tmp_path / "job.zip", tmp_path / "store", LIMITS, "me")
    assert (job.label, job.target, job.submitter) == ("mine", "host-litert", "me")
    assert (job.named, job.model_name()) == ("conv.tflite", "conv.tflite")
    assert sha256_file(Path(job.model)) == sha256_file(files / "conv.tflite")
    with np.load(job.data) as sent, np.load(files / "data.npz") as data:
        assert (sent["in0"] == data["in0"]).all()
    with zipfile.ZipFile(tmp_path / "job.zip") as made:
        assert json.loads(made.read("request.json"))["nonce"]
