"""The bench's table: a ratio that fell since another commit is told, on one machine only."""

from pathlib import Path

import pytest

from bench import recorded
from bench.recorded import Recorded, Row


def told(path: Path, row: Row, *, level: str = "avx2") -> list[str]:
    return list(Recorded(path, level, 2).add(row))


def test_what_fell_since_another_commit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "recorded.csv"
    monkeypatch.setattr(recorded, "commit", lambda: "aaa")
    assert told(table, Row("net", 8, 40.0, 1.0)) == []
    assert told(table, Row("net", 8, 20.0, 0.5)) == []  # the same commit again
    monkeypatch.setattr(recorded, "commit", lambda: "bbb")
    assert told(table, Row("net", 1, 1.0, 0.1)) == []  # another batch
    assert told(table, Row("net", 8, 1.0, 0.1), level="portable") == []
    assert told(table, Row("net", 8, 18.1, 0.4)) == [
        "net, batch 8: times_production 0.40, 0.50 at aaa"
    ]
    monkeypatch.setattr(recorded, "commit", lambda: "ccc")
    assert told(table, Row("net", 8, 18.0, 0.37)) == []  # within a tenth of the last
    assert len(table.read_text().splitlines()) == 7


def test_the_commit_is_named() -> None:
    assert recorded.commit().rstrip("+").isalnum()
