"""The operator that a converter fails at, found by trying each."""

from pathlib import Path

import pytest

from harness.quantize.failures.alone import first_failing

NET = """import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.bias = torch.nn.Parameter(torch.ones(4))

    def forward(self, x):
        y = torch.relu(self.first(x)) + self.bias
        return torch.lgamma(y).exp() if self.hard else y.exp()

def hard():
    net = Net()
    net.hard = True
    return net, (torch.ones(1, 4),)

def easy():
    net = Net()
    net.hard = False
    return net, (torch.ones(1, 4),)
"""


@pytest.mark.slow
def test_each_operator_is_tried_until_one_fails(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    (tmp_path / "net_of_ops.py").write_text(NET)
    tried: list[str] = []

    def follow(stage: str, _done: int, _total: int | None) -> None:
        tried.append(stage)

    found = first_failing(f"{tmp_path}/net_of_ops.py:hard", follow)
    assert f"aten.lgamma at {tmp_path}/net_of_ops.py:11 in forward" in found
    assert tried[-1] == found
    assert [stage.split("aten.")[1].split(" ")[0] for stage in tried] == [
        "linear", "relu", "add", "lgamma",
    ]  # fmt: skip
    assert first_failing(f"{tmp_path}/net_of_ops.py:easy", follow) == ""
