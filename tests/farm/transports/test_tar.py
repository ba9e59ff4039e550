"""Streams of a hostile or broken device; the honest ones are in test_pull.py."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm.transports.tar import CutOff, unpack
from farm.transports.untrusted import Refused, new_folder
from harness.device import PullLimits
from tests.farm.transports.conftest import left_in
from tests.farm.transports.hostile_tars import END, KINDS, NAMES, STREAMS, entry

LIMITS = PullLimits(max_files=20, max_file_bytes=10_000, max_total_bytes=20_000)


def pieces(stream: bytes) -> Iterator[bytes]:
    return (stream[i : i + 1000] for i in range(0, len(stream), 1000))


def pull(stream: bytes, local: Path) -> tuple[Path, ...]:
    with new_folder(local, LIMITS) as folder:
        unpack(pieces(stream), folder)
    return folder.files


HONEST = entry("./", tarfile.DIRTYPE) + entry("./a", data=b"x" * 700) + entry("./d/" + "n" * 180)


def test_reads_what_tar_writes(tmp_path: Path) -> None:
    assert pull(HONEST + END, tmp_path / "got") == (Path("a"), Path("d/" + "n" * 180))
    assert (tmp_path / "got/a").read_bytes() == b"x" * 700


@pytest.mark.parametrize("name", NAMES)
def test_refuses_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused):
        pull(entry(name, data=b"x") + END, tmp_path / "got")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_a_type(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(Refused, match="only regular files are accepted"):
        pull(entry("thing", kind) + END, tmp_path / "got")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(("stream", "match"), STREAMS)
def test_refuses_a_stream(tmp_path: Path, stream: bytes, match: str) -> None:
    with pytest.raises(Refused, match=match):
        pull(stream, tmp_path / "got")
    assert left_in(tmp_path) == []


def test_a_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for size in (10_001, 1 << 40, -1):
        info = tarfile.TarInfo("a")
        info.size = size
        header = info.tobuf(tarfile.GNU_FORMAT)
        with pytest.raises(Refused, match=r"allowed per file|negative size"):
            pull(header, tmp_path / "got")


@pytest.mark.parametrize("length", [0, 1, 511, 512, 1000, len(HONEST)])
def test_a_stream_that_is_cut_off(tmp_path: Path, length: int) -> None:
    with pytest.raises(CutOff):
        pull(HONEST[:length], tmp_path / "got")
    assert left_in(tmp_path) == []


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_mutation_gets_out(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed anywhere: refused, or files inside the folder; checksums are mended, to get
    past them."""
    stream = bytearray(HONEST + entry("b/c", data=b"y" * 30) + END)
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    for start in range(0, len(stream) - 511, 512):
        block = bytes(stream[start : start + 512])
        if any(block):
            total = 256 + sum(block[:148]) + sum(block[156:])
            stream[start + 148 : start + 156] = b"%06o\0 " % total
    inside = tmp_path / "in"
    inside.mkdir(exist_ok=True)
    try:
        files = pull(bytes(stream), inside / "got")
    except Refused:
        assert left_in(inside) == []
    else:
        assert all((inside / "got" / file).is_file() for file in files)
        assert left_in(inside) == ["got"]
        for path in sorted((inside / "got").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (inside / "got").rmdir()
    assert left_in(tmp_path) == ["in"]


def test_writes_nothing_through_a_planted_link(tmp_path: Path) -> None:
    """Should somebody on this host plant one while a pull runs."""
    with new_folder(tmp_path / "got", LIMITS) as folder:
        staging = next(tmp_path.iterdir())
        (staging / "a").symlink_to(tmp_path / "victim")
        with pytest.raises(Refused):
            unpack(pieces(entry("a", data=b"x") + END), folder)
    assert not (tmp_path / "victim").exists()


def test_python_writes_streams_we_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("ü" * 90)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    assert pull(buffer.getvalue(), tmp_path / "got") == (Path("ü" * 90),)
