"""The command, called in this process: its exit code and what it printed."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from harness.cli import main


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Edgefarm = Callable[..., Said]


def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Edgefarm:
    def call(*args: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["edgefarm", *(str(arg) for arg in args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return call
