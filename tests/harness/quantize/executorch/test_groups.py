"""Transposed convolutions in groups, as one for each group: the same values, and quantized."""

from typing import Any

import pytest
import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    get_symmetric_quantization_config,
)
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from harness.quantize.executorch.groups import split_groups
from harness.quantize.executorch.rewriting import quantizer

CASES = (
    (nn.ConvTranspose2d(8, 8, (1, 5), stride=(1, 2), padding=(0, 2), groups=2), (1, 8, 3, 9)),
    (nn.ConvTranspose2d(8, 12, 3, 2, 1, output_padding=1, groups=4, bias=False), (1, 8, 3, 9)),
    (nn.ConvTranspose1d(6, 6, 4, stride=2, groups=3, dilation=2), (2, 6, 9)),
)


def exported(module: nn.Module, shape: tuple[int, ...]) -> tuple[Any, torch.Tensor]:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(module).eval()
    return torch.export.export(net, (x,)).module(check_guards=False), x


@pytest.mark.parametrize(("module", "shape"), CASES)
def test_the_values_are_the_same(module: nn.Module, shape: tuple[int, ...]) -> None:
    graph, x = exported(module, shape)
    assert split_groups(graph) == 1
    with torch.no_grad():
        torch.testing.assert_close(graph(x), module(x), rtol=1e-5, atol=1e-6)


def test_one_group_is_left_alone() -> None:
    graph, _ = exported(nn.ConvTranspose2d(4, 4, 2), (1, 4, 3, 3))
    before = graph.code
    assert split_groups(graph) == 0
    assert graph.code == before


def test_every_group_is_quantized() -> None:
    graph, x = exported(*CASES[0])
    split_groups(graph)
    prepared = prepare_pt2e(graph, quantizer(get_symmetric_quantization_config()))
    prepared(x)
    converted = convert_pt2e(prepared)
    products = [
        node
        for node in converted.graph.nodes
        if node.target == torch.ops.aten.conv_transpose2d.input
    ]
    assert len(products) == 2
    for node in products:
        assert all("dequantize" in str(one.target) for one in node.args[:2])
