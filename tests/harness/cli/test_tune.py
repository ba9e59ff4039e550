"""A search on a network that the plain recipe ruins."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.harness.cli.command import Edgefarm
from tests.oracle.models import conv

NET = """
import torch

class Net(torch.nn.Module):
    '''Two channels of the middle layer are hundreds of times larger than the rest, and the next
    layer undoes that: one scale for the tensor leaves the others nothing.'''
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.one = torch.nn.Conv2d(3, 12, 3, padding=1)
        self.two = torch.nn.Conv2d(12, 12, 3, padding=1)
        self.head = torch.nn.Linear(12, 5)
        with torch.no_grad():
            for channel in (2, 7):
                self.two.weight[channel] *= 400
                self.two.bias[channel] *= 400
                self.head.weight[:, channel] /= 400
            self.head.weight *= 6
    def forward(self, x):
        x = torch.relu(self.two(torch.relu(self.one(x))))
        return self.head(x.mean((2, 3)))

def net(): return Net().eval(), (torch.zeros(1, 3, 8, 8),)
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder: Path = tmp_path_factory.mktemp("planted")
    (folder / "net.py").write_text(NET)
    names: dict[str, object] = {}
    exec(NET, names)  # noqa: S102  the text above
    module, _ = names["net"]()  # type: ignore[operator]
    x = np.random.default_rng(0).normal(size=(120, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        labels = module(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(folder / "data.npz", in0=x, labels=labels)
    return f"{folder / 'net.py'}:net", str(folder / "data.npz")


@pytest.mark.slow
def test_what_the_plain_recipe_ruins_is_restored(
    planted: tuple[str, str], tmp_path: Path, edgefarm: Edgefarm
) -> None:
    model, data = planted
    words = ["tune", model, "--data", data, "--target", "host-litert", "--json"]
    words += ["--budget", "drop=4%", "--trials", "6", "--out", str(tmp_path)]
    done = edgefarm(*words)
    assert done.code == 0, done.err
    found = done.json
    by_name = {one["recipe"]: one["metrics"] for one in found["trials"]}
    taken = found["recommended"]
    assert taken["within_budget"]
    assert taken["metrics"]["top1"] >= by_name["static_wi8_ai8"]["top1"]
    assert taken["metrics"]["sqnr_db"] >= by_name["static_wi8_ai8"]["sqnr_db"]
    assert taken["evaluated"]["samples"] + found["samples"] + 40 == 120  # and 40 calibrate
    assert json.loads(Path(taken["file"]).read_text())["tuned_on"]
    assert {one["recipe"] for one in found["front"]} <= set(by_name)

    again = edgefarm(*words).json  # as after a kill: all trials are there
    assert again["trials"] == found["trials"]


def test_a_budget_that_is_none_is_refused_at_once(edgefarm: Edgefarm) -> None:
    done = edgefarm("tune", "zoo:digits-cnn", "--target", "host-litert", "--budget", "speed=9")
    assert done.code == 2
    assert "drop=NUMBER%" in done.err


@pytest.mark.slow
def test_a_quantized_model_has_no_recipe_to_look_for(edgefarm: Edgefarm, tmp_path: Path) -> None:
    made = conv(shape=(1, 6, 6, 3), channels=5)
    (tmp_path / "conv.tflite").write_bytes(made.data)
    np.savez(tmp_path / "data.npz", in0=np.concatenate([made.sample(n)[0] for n in range(9)]))
    given = (str(tmp_path / "conv.tflite"), "--data", str(tmp_path / "data.npz"))
    done = edgefarm("tune", *given, "--target", "host-litert")
    assert done.code == 2
    assert "is quantized already" in done.err
