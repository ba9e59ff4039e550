"""The straight way with what modules ordinarily take and return: integers of any width, masks,
tables, scalars, nested outputs, and parameters in other float types."""

import sys
from pathlib import Path

import numpy as np
import pytest

from farm.transports import connect
from harness.device import Device
from harness.errors import UsageError
from harness.evaluate import evaluate
from harness.host.cache import Cache
from harness.on_device.deploy import MeasurePlan
from harness.recipe import RECIPES
from harness.records import Outcome
from harness.request import Request
from targets import get_target

pytestmark = pytest.mark.slow

SOURCE = """
import collections

import torch

Output = collections.namedtuple("Output", "logits more")

class Tagger(torch.nn.Module):
    # Weights are random on purpose: every process must see the same ones.
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(16, 8)
        self.linear = torch.nn.Linear(8, 4)

    def forward(self, ids, mask, *, table, scale):
        hidden = self.embedding(ids) + table
        hidden = hidden * mask.to(hidden.dtype)[..., None]
        logits = self.linear(hidden)
        return Output(logits, {"sums": [hidden.sum(-1)], "loss": logits.mean() * scale, "n": 3})

def make(dtype):
    ids, mask = torch.zeros(2, 5, dtype=torch.int64), torch.ones(2, 5, dtype=torch.bool)
    table, scale = torch.zeros(5, 8, dtype=dtype), torch.tensor(1.0, dtype=dtype)
    return Network().to(dtype), (ids, mask, table, scale)

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.tagger = Tagger()

    def forward(self, ids, mask, table, scale):
        return self.tagger(ids, mask, table=table, scale=scale)

def double(): return make(torch.float64)
def half(): return make(torch.float16)
"""


@pytest.mark.parametrize(
    ("target", "kind"), [("host-litert", "double"), ("host-executorch", "half")]
)
def test_whatever_a_module_takes_and_returns(tmp_path: Path, target: str, kind: str) -> None:
    """Five samples in batches of two, a table and a scalar for all of them."""
    (tmp_path / "net.py").write_text(SOURCE)
    rng = np.random.default_rng(0)
    inputs = {
        "in0": rng.integers(0, 16, (9, 5), np.uint8),
        "in1": rng.integers(0, 2, (9, 5)),
        "in2": rng.normal(size=(5, 8)),
        "in3": np.float64(0.5),
    }
    np.savez(tmp_path / "data.npz", **inputs)  # type: ignore[arg-type]  # any arrays
    device = Device("here", "local", (target,), workdir=str(tmp_path / "w"), python=sys.executable)
    request = Request(
        model=f"{tmp_path / 'net.py'}:{kind}",
        data=str(tmp_path / "data.npz"),
        target=get_target(target),
        recipe=RECIPES["static_wi8_ai8"],
        device=device,
        measure=MeasurePlan(restarts=2, warmup_runs=1, timed_runs=2, min_time_s=0.0),
    )
    done = evaluate(request, connect, cache=Cache(tmp_path / "cache"))
    assert done.failure is None
    assert done.outcome is not Outcome.FAIL
    assert done.samples == 6
    assert done.exactness is not None
    assert done.exactness.verdict != "differs"
    # The table and the scalar, the float type, and the output that is no tensor.
    notes = " | ".join(done.notes)
    assert "in2 of shape (5, 8) is given whole, one for all samples" in notes
    assert "in3 of shape () is given whole" in notes
    assert f"are float{64 if kind == 'double' else 16}: lowered in float32" in notes
    assert "left out: more.n (int)" in notes
    for name in ("logits", "more.sums.0", "more.loss"):
        assert f" is {name}" in notes
    assert done.manifest is not None
    assert [spec.batched for spec in done.manifest.inputs] == [True, True, False, False]
    assert [spec.shape for spec in done.manifest.outputs] == [(2, 5, 4), (2, 5), ()]
    assert done.cost is not None
    costs = {one.name: one for one in done.cost.tensors}
    for spec in done.manifest.outputs:
        assert costs[spec.name].cosine > 0.98, spec

    np.savez(tmp_path / "data.npz", **(inputs | {"in0": np.full((9, 5), 1 << 40)}))  # type: ignore[arg-type]  # any arrays
    if target == "host-litert":  # its artifact takes int32, ExecuTorch's takes the model's int64
        with pytest.raises(UsageError, match="1099511627776 does not fit int32"):
            evaluate(request, connect, cache=Cache(tmp_path / "cache"))
