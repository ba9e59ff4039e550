"""A fault planted in one layer is found there, with its channels and its cause."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from harness.judge.diagnosis.simulating import Simulated, SimulatedLayer, simulate_module
from harness.recipe import RECIPES, Rule, Step, load_recipe
from tests.harness.judge.diagnosis.planted import (
    CASES,
    Block,
    Convolutions,
    Planted,
    batches_of,
    outlier_channels,
)

IMAGE = (3, 12, 12)


class Wrapped(nn.Module):
    """As `harness.sources.flat` hands it to a lowering."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made: torch.Tensor | tuple[torch.Tensor, ...] = self.model(*inputs)
        return made if isinstance(made, tuple) else (made,)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def diagnosed(
    module: nn.Module,
    shape: tuple[int, ...] = IMAGE,
    recipe: str = "static_wi8_ai8",
    runtime: str = "litert",
    **options: Any,
) -> Simulated:
    wrapped, batches = Wrapped(module), batches_of(shape)
    return simulate_module(
        wrapped, wrapped, batches[0], load_recipe(recipe), batches, runtime=runtime, **options
    )


def layer_of(found: Simulated, module: str) -> SimulatedLayer:
    return next(one for one in found.layers if one.module == module)


@pytest.mark.parametrize(
    ("name", "runtime"), [(name, one) for name, case in CASES.items() for one in case.runtimes]
)
def test_the_planted_layer_comes_first(name: str, runtime: str) -> None:
    case: Planted = CASES[name]
    found = diagnosed(case.make(), case.shape, case.recipe, runtime)
    worst = found.layers[0]
    assert worst.module == case.layer
    assert worst.finding.cause in case.causes
    assert case.channels <= set(worst.finding.channels)
    if worst.finding.cause in {"activation-outlier", "weight-range-ratio"}:
        assert set(worst.finding.channels) == case.channels
    assert sum(one.share for one in found.layers) == pytest.approx(1)
    assert [one.share for one in found.layers] == sorted(
        (one.share for one in found.layers), reverse=True
    )


def test_without_the_culprit_the_rest_is_as_without_the_fault() -> None:
    hurt, clean = diagnosed(outlier_channels()), diagnosed(_clean())
    assert hurt.total.sqnr_db < clean.total.sqnr_db - 10
    culprit = layer_of(hurt, "one.conv")
    assert culprit.in_place.sqnr_db > hurt.total.sqnr_db + 10
    assert culprit.alone.sqnr_db == pytest.approx(hurt.total.sqnr_db, abs=1)


def _clean() -> nn.Module:
    torch.manual_seed(7)
    return Convolutions().eval()


def test_a_layer_that_the_artifact_leaves_in_float_costs_nothing() -> None:
    kept = diagnosed(_clean(), recipe="weight_only_wi8_afp32", in_float=frozenset({"two.conv"}))
    assert layer_of(kept, "two.conv").alone.sqnr_db == float("inf")
    assert layer_of(kept, "one.conv").alone.sqnr_db < 100


def test_a_layer_that_a_rule_leaves_in_float_costs_nothing() -> None:
    recipe = replace(RECIPES["weight_only_wi8_afp32"], rules=(Rule(None, ("two",)),), name="ruled")
    wrapped, batches = Wrapped(_clean()), batches_of(IMAGE)
    found = simulate_module(wrapped, wrapped, batches[0], recipe, batches, runtime="litert")
    assert layer_of(found, "two.conv").alone.sqnr_db == float("inf")
    assert layer_of(found, "one.conv").alone.sqnr_db < 100


def test_a_range_that_clips_is_the_recipes_fault() -> None:
    recipe = replace(
        RECIPES["static_wi8_ai8"], steps=(Step("percentile", (("upper", 60.0),)),), name="clips"
    )
    wrapped, batches = Wrapped(_clean()), batches_of(IMAGE)
    found = simulate_module(wrapped, wrapped, batches[0], recipe, batches, runtime="litert")
    worst = found.layers[0]
    assert worst.finding.cause == "clipped"
    assert worst.clipped > 0.05


def test_what_follows_an_operator_belongs_to_it() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 1)
            )
            self.act = nn.Hardswish()
            self.scale = nn.Parameter(torch.rand(8, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.body(x)) * self.scale

    torch.manual_seed(0)
    found = diagnosed(Net().eval())
    assert {one.module: one.ops for one in found.layers} == {
        "(input)": (),
        "body.0": ("conv2d", "hardtanh"),
        "body.3": ("conv2d", "hardswish"),
        "mul": ("mul",),
    }


def test_a_shared_module_is_one_layer() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = self.conv(torch.relu(self.conv(x)))
            return made

    torch.manual_seed(0)
    found = diagnosed(Twice().eval())
    assert sorted(one.module for one in found.layers) == ["(input)", "conv"]


def test_dead_channels_and_saturated_values_are_counted() -> None:
    net = Convolutions(nn.ReLU6)
    with torch.no_grad():
        net.one.conv.bias[4] = -100.0
        net.one.conv.bias[7] = 100.0
    found = layer_of(diagnosed(net.eval()), "one.conv")
    assert {4, 7} <= set(found.facts.dead)
    assert found.saturated == pytest.approx(1 / 16, abs=0.01)


def test_of_several_outputs_each_counts() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = Block(3, 8), Block(3, 8)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.small(x).mean((2, 3)), 1000 * self.large(x).mean((2, 3))

    torch.manual_seed(0)
    net = Two().eval()
    with torch.no_grad():
        net.small.conv.weight[0] *= 300.0
    found = diagnosed(net, recipe="static_wi8_ai8_per_tensor")
    assert found.layers[0].module == "small.conv"


def test_weights_alone_have_no_activations_to_blame() -> None:
    found = diagnosed(_clean(), recipe="weight_only_wi8_afp32")
    assert {one.module for one in found.layers if one.share} == {
        "stem.conv", "one.conv", "two.conv", "three.conv", "head",
    }  # fmt: skip
    assert all(one.finding.of_weights in {0.5, 1.0} for one in found.layers)
