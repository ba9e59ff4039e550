"""Qualcomm's libraries are an extra: without them these tests are skipped, saying so."""

from importlib.util import find_spec

import pytest


@pytest.fixture
def qualcomm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries are installed, and their licence counts as accepted in this test."""
    missing = [n for n in ("onnx", "onnxruntime", "onnxruntime_qnn") if find_spec(n) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install 'edgefarm[hexagon]'")
    monkeypatch.setenv("EDGEFARM_ACCEPT_QUALCOMM_LICENSE", "1")
