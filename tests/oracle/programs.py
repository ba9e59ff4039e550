"""ExecuTorch as the judge: modules quantized by its own tools, lowered to XNNPACK, and run."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle.build import Array


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
