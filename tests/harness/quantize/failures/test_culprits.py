"""Where in a model something is: the module and the line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifact import TensorSpec
from harness.sources.causes import explain

EXECUTING = "While executing %x : [num_users=1] = call_function[target=torch.ops.aten.{}](args = ()"


class Named:
    """Makes modules whose forward is a function of submodules and inputs."""

    def __call__(self, forward: Callable[..., Any], *children: Any) -> Any:
        import torch

        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.parts = torch.nn.ModuleList(children)

            def forward(self, *x: Any) -> Any:
                return forward(self.parts, *x)

        return Net().eval()


@pytest.mark.slow
def test_the_module_and_the_line_are_found(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch import nn

    from harness.quantize.failures.culprits import first_nan, place, suspects

    net = Named()

    def places(module: Any, examples: tuple[Any, ...], raw: str) -> list[str]:
        program = torch.export.export(module, examples, strict=False)
        return [place(node) for node in suspects(program, raw, explain(raw))]

    x, image = torch.ones(1, 8), torch.ones(1, 4, 5, 5)
    alpha = net(
        lambda m, x: torch.add(m[0](x) + x, m[1](x), alpha=3), nn.Linear(8, 8), nn.Linear(8, 8)
    )
    raw = "_aten_add_tensor() got an unexpected keyword argument 'alpha'\n"
    [found] = places(alpha, (x,), raw + EXECUTING.format("add.Tensor"))
    assert found.startswith("the model's own forward (Net), aten.add at ")
    assert "test_culprits.py:" in found

    same = net(lambda m, x: m[1](m[0](x)), nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 3, padding="same"))
    raw = "found type 'list'.\nValue: [0, 's', 'a', 'm', 'e']\n" + EXECUTING.format(
        "conv1d.padding"
    )
    [found] = places(same, (torch.ones(1, 4, 9),), raw)
    assert found.startswith("module parts.1 (Conv1d), aten.conv1d at ")

    two = net(lambda m, x: m[1](m[0](x)), nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1))
    raw = "conv.py:1198:0: error: failed to legalize operation 'mhlo.convolution' lhs_dilation"
    [found] = places(two, (image,), raw)
    assert found.startswith("module parts.1 (ConvTranspose2d), aten.conv_transpose2d at ")

    [found] = places(net(lambda _m, x: torch.sort(x)[0] + 1), (x,), "opcode 'STABLEHLO_SORT'")
    assert ", aten.sort at " in found

    wild = net(lambda m, x: torch.log(m[0](x) - 1e6).relu(), nn.Linear(8, 8))
    np.savez(tmp_path / "x.npz", in0=np.ones((3, 8), np.float32))
    program = torch.export.export(wild, (x,), strict=False)
    specs = [TensorSpec("x", (1, 8), "float32")]
    node, _infinite = first_nan(program, specs, tmp_path / "x.npz")
    assert node is not None
    assert ", aten.log at " in place(node)

    masked = net(
        lambda m, x: torch.softmax(m[0](x).masked_fill(x > 0, -torch.inf), 1), nn.Linear(8, 8)
    )
    np.savez(tmp_path / "x.npz", in0=np.eye(8, dtype=np.float32))
    program = torch.export.export(masked, (x,), strict=False)
    assert first_nan(program, specs, tmp_path / "x.npz") == (None, False)
