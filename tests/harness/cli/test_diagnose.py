"""`edgefarm diagnose`, from a model with a fault to the layer's name and the command that helps."""

import shlex
from pathlib import Path

import pytest

from tests.harness.cli.command import Edgefarm

_NET = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv, self.act = nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = Block(3, 8), Block(8, 16), Block(16, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.third(self.second(self.first(x))).mean((2, 3)))


def model():
    torch.manual_seed(2)
    net = Net().eval()
    with torch.no_grad():
        for channel in (3, 9):
            net.second.conv.weight[channel] *= 500
            net.second.conv.bias[channel] *= 500
            net.third.conv.weight[:, channel] /= 500
    return net, (torch.rand(1, 3, 8, 8),)


def samples():
    torch.manual_seed(3)
    yield torch.rand(36, 3, 8, 8)
"""


@pytest.mark.slow
def test_the_layer_its_channels_and_the_command_that_helps(
    edgefarm: Edgefarm, tmp_path: Path
) -> None:
    net = tmp_path / "net.py"
    net.write_text(_NET)
    asked = ["diagnose", f"{net}:model", "--target", "arm-neon-litert"]
    asked += ["--recipe", "static_wi8_ai8", "--data", f"{net}:samples"]
    said = edgefarm(*asked, "--json")
    assert said.code == 0
    worst = said.json["layers"][0]
    assert (worst["module"], worst["cause"]) == ("second.conv", "activation-outlier")
    assert set(worst["channels"]) == {3, 9}
    assert sum(layer["share"] for layer in said.json["layers"]) == pytest.approx(1)
    total = said.json["total"]
    assert total["exact_by"] == "litert-xnnpack-arm"
    assert total["exact"]["sqnr_db"] == pytest.approx(total["simulated"]["sqnr_db"], abs=1)

    table = edgefarm(*asked)
    assert all(len(line) <= 80 for line in table.out.splitlines())
    assert "second.conv" in table.out
    assert worst["step"] in table.out

    _, _, *helped = shlex.split(worst["command"])
    again = edgefarm("diagnose", *helped, "--json")
    assert again.json["total"]["exact"]["sqnr_db"] > total["exact"]["sqnr_db"] + 5
    assert again.json["layers"][0]["module"] != "second.conv"


def test_a_lowered_file_is_refused_with_the_remedy(edgefarm: Edgefarm, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"TFL3")
    said = edgefarm("diagnose", file, "--target", "host-litert", "--recipe", "static_wi8_ai8")
    assert said.code == 2
    assert "give the model that it was made of" in said.err.replace("\n", " ")
