"""Weights and values that are not finite are refused by name before any converter sees them."""

import pytest
import torch

from harness.errors import ModelError
from harness.quantize.finite import observe, refuse_undefined_weights


class Net(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(self.head(x))


def test_a_mask_may_be_infinite() -> None:
    refuse_undefined_weights(Net(), "net.py:net")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(value: float) -> None:
    net = Net()
    with torch.no_grad():
        net.head[0].weight[0, 1] = value
    with pytest.raises(ModelError, match=r"'weight' of module 'head\.0' holds 1 values of 4"):
        refuse_undefined_weights(net, "net.py:net")


def test_a_buffer_of_nan_is_named() -> None:
    net = Net()
    net.head[1].running_var.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"buffer 'running_var' of module 'head\.1' holds 2"):
        refuse_undefined_weights(net, "net.py:net")


def test_the_operator_that_makes_nan_is_named() -> None:
    graph = torch.export.export(Net().eval(), (torch.ones(1, 2),)).module(check_guards=False)
    far = torch.tensor([[50.0, -50.0]])
    with pytest.raises(ModelError, match=r"operator aten.log.default gives NaN .*test_finite\.py"):
        observe(graph, [(far,), (-far,)], "net.py:net")


def test_least_and_greatest_of_all_batches_are_kept() -> None:
    graph = torch.export.export(torch.nn.ReLU(), (torch.ones(2),)).module(check_guards=False)
    batches = [(torch.tensor([-1.0, 2.0]),), (torch.tensor([-5.0, float("inf")]),)]
    spans = observe(graph, batches, "net.py:net")
    assert sorted(spans.values()) == [(-5.0, float("inf")), (0.0, float("inf"))]
