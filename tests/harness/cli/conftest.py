"""A home of its own for every command, and a small quantized model with data."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.harness.cli.command import Edgefarm, command
from tests.oracle.models import conv


@dataclass(frozen=True)
class Quantized:
    """A one-convolution .tflite with three samples."""

    file: Path
    data: Path
    inputs: np.ndarray


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("EDGEFARM_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture
def edgefarm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Edgefarm:
    return command(capsys, monkeypatch)


@pytest.fixture
def quantized(tmp_path: Path) -> Quantized:
    made = conv(shape=(1, 6, 6, 3), channels=5)
    file, data = tmp_path / "conv.tflite", tmp_path / "data.npz"
    file.write_bytes(made.data)
    x = np.concatenate([made.sample(seed)[0] for seed in range(3)])
    np.savez(data, in0=x)
    return Quantized(file, data, x)
