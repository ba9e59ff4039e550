"""Slices, chunks, views and changes in place, quantized for XNNPACK; on exported graphs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    get_symmetric_quantization_config,
)
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from harness.errors import ModelError
from harness.host.cache import Cache
from harness.quantize.executorch.moves import changes_in_place, keep_scales, slice_chunks
from harness.quantize.executorch.rewriting import quantizer, separate_weights
from harness.quantize.lower import lower
from harness.recipe import RECIPES
from harness.sources.models import open_model
from tests.harness.quantize.targets import EXECUTORCH

Forward = Callable[[Any, torch.Tensor], torch.Tensor]
QUANTIZE = torch.ops.quantized_decomposed.quantize_per_tensor.default
DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor.default


def graph_of(forward: Forward, *layers: nn.Module) -> tuple[Any, torch.Tensor]:
    class Net(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(self.layers, x)

    x = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.export.export(Net().eval(), (x,)).module(check_guards=False), x


def quantized(forward: Forward, *layers: nn.Module) -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    graph, x = graph_of(forward, *layers)
    separate_weights(graph)
    prepared = prepare_pt2e(graph, quantizer(get_symmetric_quantization_config()))
    prepared(x)
    return convert_pt2e(prepared), x


def scales_around(graph: Any, target: object) -> list[tuple[set[Any], Any]]:
    """For each such node, the scales of its inputs and of its output; None where it is real."""
    found = []
    for node in graph.graph.nodes:
        if node.target == target:
            inputs = {x.args[1] if x.target == DEQUANTIZE else None for x in node.all_input_nodes}
            (user,) = node.users
            found.append((inputs, user.args[1] if user.target == QUANTIZE else None))
    return found


def halves(layers: Any, x: torch.Tensor) -> torch.Tensor:
    y = layers[0](x)
    return y[:, :2] + y[:, 2:]


def of_the_input(layers: Any, x: torch.Tensor) -> torch.Tensor:
    return layers[0](x)[:, :1] + x[:, 1:2]


@pytest.mark.parametrize("forward", [halves, of_the_input])
def test_a_slice_has_the_scale_of_what_it_slices(forward: Forward) -> None:
    graph, _ = quantized(forward, nn.Conv2d(3, 4, 3, padding=1))
    around = scales_around(graph, torch.ops.aten.slice.Tensor)
    assert len(around) == 2
    assert all(inputs == {output} and output for inputs, output in around)


@pytest.mark.parametrize(
    "split",
    [
        lambda y: y.chunk(2, 1),
        lambda y: y.split(3, dim=1),
        lambda y: torch.split(y, [1, 3], -3),
        lambda y: y.chunk(4, 2),
    ],
)
def test_chunks_become_slices_and_nothing_changes(split: Callable[[Any], Any]) -> None:
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        parts = split(torch.cat([x, x[:, :1]], 1))
        return torch.cat([part.sum((1, 2, 3)) for part in parts[::-1]])

    graph, x = graph_of(forward)
    expected = graph(x)
    assert slice_chunks(graph) == 1
    torch.testing.assert_close(graph(x), expected)
    assert not any("split" in str(node.target) for node in graph.graph.nodes)


def test_a_move_between_two_scales_keeps_one_and_changes_no_value() -> None:
    """Joining, and reading a value that two layers quantize to different scales."""

    def forward(layers: Any, x: torch.Tensor) -> torch.Tensor:
        y, z = layers[0](x), layers[1](x * 9)
        joined = torch.cat([y, z, y + z], 1)
        return layers[2](torch.nn.functional.max_pool2d(joined, 2, 2))

    graph, x = quantized(forward, nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(12, 2, 1))
    for node in graph.graph.nodes:  # as another quantizer might have it
        if node.target == QUANTIZE and node.args[0].target == torch.ops.aten.max_pool2d.default:
            node.args = (node.args[0], node.args[1] * 2, *node.args[2:])
            for user in list(node.users):
                user.args = (node, *node.args[1:])
    graph.recompile()
    expected = graph(x)
    assert keep_scales(graph) >= 1
    for target in (torch.ops.aten.cat.default, torch.ops.aten.max_pool2d.default):
        ((inputs, output),) = scales_around(graph, target)
        assert inputs == {output}
    torch.testing.assert_close(graph(x), expected)
    assert keep_scales(graph) == 0


def part_doubled(layers: Any, x: torch.Tensor) -> torch.Tensor:
    y = layers[0](x)
    y[:, 1:3] *= 2
    return y.relu_()


def whole_doubled_behind_a_view(layers: Any, x: torch.Tensor) -> torch.Tensor:
    y = layers[0](x)
    part = y[:, :2]
    y.mul_(2)
    return part + y[:, 2:]


@pytest.mark.parametrize(
    ("forward", "changes"),
    [
        (part_doubled, True),
        (whole_doubled_behind_a_view, True),
        (lambda layers, x: layers[0](x).relu_(), False),
        (lambda layers, x: layers[0](x) * 2, False),
    ],
)
def test_changes_in_place_that_others_see_are_known(forward: Forward, changes: bool) -> None:
    graph, _ = graph_of(forward, nn.Conv2d(3, 4, 3, padding=1))
    assert changes_in_place(graph) == changes


def test_a_layer_that_is_called_twice_is_quantized_twice_and_folds_once() -> None:
    def forward(layers: Any, x: torch.Tensor) -> torch.Tensor:
        return layers[0](x) - layers[0](x * 4)

    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_var.fill_(0.04)
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), norm)
    graph, x = quantized(forward, layer)
    calls = [n for n in graph.graph.nodes if n.target == torch.ops.aten.conv2d.default]
    assert len(calls) == 2
    assert all(call.args[0].target == call.args[1].target == DEQUANTIZE for call in calls)
    assert len({call.args[2].target for call in calls}) == 2
    expected = layer.eval()(x) - layer(x * 4)
    torch.testing.assert_close(graph(x), expected, rtol=0.1, atol=0.2 * float(expected.std()))


MODULE = """
import torch
from torch import nn
from torch.nn import functional as F

class Moves(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.up, self.last = nn.Conv2d(12, 16, 1), nn.Linear(64, 5)
    def forward(self, x):
        y = self.a(x)
        y[:, 1:3] *= 2
        first, second = y.chunk(2, 1)
        second = self.b(second) + self.b(first)
        y = self.up(torch.cat([first, second, first * x[:, :1]], 1))
        y = F.max_pool2d(F.pixel_shuffle(y, 2)[:, 1:3], 2)
        y = y.permute(0, 2, 3, 1).reshape(1, 4, 4, 8).transpose(1, 2)
        return self.last(y.flatten(1)[:, 32:96])

def moves():
    return Moves(), (torch.zeros(1, 3, 8, 8),)

def volume():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Unflatten(1, (1, 4)), nn.Conv3d(1, 2, 3)), (
        torch.zeros(1, 3, 8, 8),)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_moves_load_and_run_and_what_has_no_kernel_is_named(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "net.py").write_text(MODULE)
    x = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    recipe = RECIPES["static_wi8_ai8"]
    made = lower(EXECUTORCH, open_model(f"{tmp_path / 'net.py'}:moves"), recipe, (x,), cache=cache)
    assert not any("float" in note for note in made.manifest.notes)
    with pytest.raises(ModelError, match=r"2 \(Conv3d\) has 3 spatial dimensions.*LiteRT"):
        lower(EXECUTORCH, open_model(f"{tmp_path / 'net.py'}:volume"), recipe, (x,), cache=cache)
