"""ExecuTorch as the judge: modules quantized by its own tools, lowered to XNNPACK, and run.

`python -m tests.oracle.programs` writes the golden program again, with inputs and outputs.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle.build import Array

GOLDEN = Path(__file__).parents[1] / "golden/programs/network"
"""``.pte``, and ``.npz`` with ``in`` and ``out0``, ``out1`` of several samples."""
BESIDE = GOLDEN.with_name("beside.pte")


def lower(
    module: Any,
    shapes: Sequence[tuple[int, ...]],
    *,
    quantized: bool = True,
    dynamic: bool = False,
    per_channel: bool = True,
    seed: int = 0,
) -> bytes:
    """A `.pte` of a module whose inputs are float32 tensors of these shapes."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    generator = torch.Generator().manual_seed(seed)
    draws = [
        tuple(torch.randn(shape, generator=generator) * 2 for shape in shapes) for _ in range(3)
    ]
    exported = torch.export.export(module.eval(), draws[0]).module(check_guards=False)
    if quantized:
        config = get_symmetric_quantization_config(is_per_channel=per_channel, is_dynamic=dynamic)
        prepared = prepare_pt2e(exported, XNNPACKQuantizer().set_global(config))
        with torch.no_grad():
            for draw in draws:
                prepared(*draw)
        exported = convert_pt2e(prepared)
    program = torch.export.export(exported, draws[0])
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    return bytes(edge.to_executorch().buffer)


def run(program: bytes, batches: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """What ExecuTorch makes of each batch of inputs."""
    import torch
    from executorch.runtime import Runtime, Verification

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.pte")
        path.write_bytes(program)
        loaded = Runtime.get().load_program(path, verification=Verification.Minimal)
        method = loaded.load_method("forward")
        assert method is not None
        results = []
        for batch in batches:
            given = [torch.from_numpy(np.ascontiguousarray(x)) for x in batch]
            results.append([y.numpy().copy() for y in method.execute(given)])
    return results


def network() -> tuple[Any, list[tuple[int, ...]]]:
    """A module and its input shapes: inverted residuals with batch normalization, as MobileNetV2
    has them, and random weights."""
    import torch
    from torch import nn

    def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        wide = inputs * 3
        return nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    class Network(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.first, self.second = block(8, 8, 1), block(8, 15, 2)
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(23, 10)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            x = x + self.first(x)
            y = self.second(x)
            y = torch.cat([y, nn.functional.max_pool2d(x, 2, 2)], 1)
            return self.head(self.pool(y).flatten(1)), y.mean((2, 3))

    torch.manual_seed(3)
    return Network(), [(1, 3, 16, 16)]


def beside() -> tuple[Any, list[tuple[int, ...]]]:
    """What transformers have beside linear layers, and the delegate leaves out: eight results that
    are copies or sums, then three of float arithmetic."""
    import torch

    class Beside(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = torch.nn.Embedding(11, 5), torch.nn.LayerNorm((3, 5))
            self.register_buffer("rows", torch.tensor([[0, 10, 3], [7, 7, 1]]))
            self.register_buffer(
                "few", torch.tensor([[1 << 24], [(1 << 24) + 1]], dtype=torch.int32)
            )
            self.register_buffer("places", torch.tensor([[[2, 0, 1, 1]], [[0, 0, 2, 1]]]))

        def forward(self, x: Any) -> Any:
            return (
                self.table(self.rows),
                torch.gather(x, 1, self.places),
                self.rows[:, -2:],
                self.rows[:, 1:2].expand(2, 4),
                self.rows.to(torch.float32),
                self.few.to(torch.float32),
                x.sum(dim=(1, 2)),
                x.sum(dim=1, keepdim=True),
                self.norm(x),
                torch.nn.functional.layer_norm(x, (5,)),
                torch.clamp(x, -0.5, 0.25),
            )

    torch.manual_seed(4)
    return Beside(), [(2, 3, 5)]


def main() -> None:
    """Write the golden programs."""
    program = lower(*network())
    inputs = (np.random.default_rng(5).normal(size=(6, 3, 16, 16)) * 2).astype(np.float32)
    outputs = zip(*run(program, [[x[None]] for x in inputs]), strict=True)
    arrays: dict[str, Array] = {f"out{i}": np.concatenate(y) for i, y in enumerate(outputs)}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.with_suffix(".pte").write_bytes(program)
    BESIDE.write_bytes(lower(*beside(), quantized=False))
    np.savez_compressed(GOLDEN.with_suffix(".npz"), **{"in": inputs, **arrays})


if __name__ == "__main__":
    main()
