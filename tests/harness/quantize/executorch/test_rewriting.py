"""What is added to ExecuTorch's XNNPACK quantizer, on exported graphs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    get_symmetric_quantization_config,
)
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from harness.quantize.executorch.rewriting import fold_padding, quantizer, separate_weights


def exported(module: nn.Module) -> tuple[Any, torch.Tensor]:
    x = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.export.export(module.eval(), (x,)).module(check_guards=False), x


def targets(module: Any) -> list[str]:
    return [
        str(node.target).removesuffix(".default")
        for node in module.graph.nodes
        if node.op == "call_function"
    ]


@pytest.mark.parametrize(
    ("module", "folds"),
    [
        (lambda: [nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3)], True),
        (lambda: [nn.ZeroPad2d((2, 2, 1, 1)), nn.Conv2d(3, 6, 3, 2, (0, 1), 1, 3)], True),
        (lambda: [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2)], False),
        (lambda: [nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 4, 3)], False),
        (lambda: [nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3)], False),
        (lambda: [nn.ZeroPad2d(-1), nn.Conv2d(3, 4, 3)], False),
    ],
)
def test_only_symmetric_zero_padding_is_folded_and_nothing_changes(
    module: Callable[[], list[nn.Module]], folds: bool
) -> None:
    torch.manual_seed(0)
    graph, x = exported(nn.Sequential(*module()))
    expected = graph(x)
    assert fold_padding(graph) == int(folds)
    assert ("aten.pad" in "".join(targets(graph))) == (not folds)
    torch.testing.assert_close(graph(x), expected)


def quantized(*layers: nn.Module, dynamic: bool = False) -> list[str]:
    torch.manual_seed(0)
    graph, x = exported(nn.Sequential(*layers))
    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
    prepared = prepare_pt2e(graph, quantizer(config))
    prepared(x)
    names = targets(convert_pt2e(prepared))
    return [name.removeprefix("aten.").removeprefix("quantized_decomposed.") for name in names]


@pytest.mark.parametrize("clamp", [nn.ReLU6(), nn.Hardtanh(-0.5, 0.5)])
def test_a_clamp_is_quantized_with_its_convolution(clamp: nn.Module) -> None:
    names = quantized(nn.Conv2d(3, 4, 3), clamp, nn.Conv2d(4, 4, 3))
    first = names.index("conv2d")
    assert names[first + 1] == "hardtanh"
    assert names[first + 2].startswith("quantize_per_tensor")


def test_padding_stays_between_two_equal_scales() -> None:
    torch.manual_seed(0)
    graph, x = exported(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2)))
    config = get_symmetric_quantization_config(is_per_channel=True)
    prepared = prepare_pt2e(graph, quantizer(config))
    prepared(x)
    nodes = [
        n for n in convert_pt2e(prepared).graph.nodes if "quantize_per_tensor" in str(n.target)
    ]
    scales = [node.args[1:3] for node in nodes]
    assert scales[0] == scales[1] == scales[2] == scales[3]


def test_a_padded_convolution_is_not_quantized_at_run_time() -> None:
    padded = quantized(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3), dynamic=True)
    plain = quantized(nn.Conv2d(3, 4, 3), dynamic=True)
    assert not any("quantize" in name for name in padded)
    assert any("choose_qparams" in name for name in plain)


class Siamese(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """One branch for two inputs, and their sums' product with a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (self.branch(a) + self.branch(b)).mean() * scale


def test_a_layer_that_is_called_twice_is_quantized_twice_and_scalars_are_not() -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(1, 1, 6, 6), torch.randn(1, 1, 6, 6), torch.tensor(2.0))
    module = Siamese().eval()
    expected = module(*inputs)
    graph = torch.export.export(module, inputs).module(check_guards=False)
    assert separate_weights(graph) == 6  # of the convolution two, of the normalization four
    torch.testing.assert_close(graph(*inputs), expected)
    prepared = prepare_pt2e(graph, quantizer(get_symmetric_quantization_config()))
    torch.testing.assert_close(prepared(*inputs), expected)
    converted = convert_pt2e(prepared)
    convolutions = [node for node in converted.graph.nodes if "conv2d" in node.name]
    assert len(convolutions) == 2
    for node in convolutions:
        assert all("dequantize" in source.name for source in node.args[:2])
    last = next(node for node in converted.graph.nodes if node.target == torch.ops.aten.mul.Tensor)
    assert not any("quantize" in source.name for source in last.all_input_nodes)
