"""Runs a compiled file on Qualcomm's own emulator of the tensor processor, the context as it is.

onnxruntime runs the context binary of each part as an EPContext node, with integers in and out; the
CPU takes nothing over. Isolated only: a broken context may crash the library.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.emulator.graph import Graph
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.host.scratch import scratch_folder
from harness.target import VendorEmulation
from targets.hexagon.dispatch import Context, read_compiled
from targets.hexagon.sdk import library_folder, require_licence
from targets.hexagon.socs import SOCS

Array = npt.NDArray[Any]

_PROVIDER = "QNNExecutionProvider"
_VERBOSE, _ERRORS = 0, 3
_ARCH = re.compile(r"Setting libnative architecture to (\S+) \(requested arch is (\S+)\)")
_BUILD = re.compile(r"Backend build version: (\S+)")


def emulate_htp(
    path: Path, soc: str, inputs: tuple[Array, ...], progress: Progress
) -> VendorEmulation:
    """Run all samples.

    Raises:
        UsageError: the emulator is not installed, or its licence not accepted.
        ModelError: the file is for another chip, an op of it is not on the tensor processor, or the
            library refuses the context.
    """
    library_folder()
    require_licence()
    compiled = read_compiled(path)
    if compiled.soc != soc:
        made = compiled.soc or "a chip that it does not name"
        raise ModelError(
            f"{path}: compiled for {made}, asked to run as {soc}: a context runs on its own chip "
            "only; compile it again"
        )
    others = [node for node in compiled.graph.nodes if node.index not in compiled.contexts]
    if others or len(compiled.contexts) != 1:
        first = others[0] if others else compiled.graph.nodes[0]
        raise ModelError(
            f"{path}: {len(others)} ops are not on the tensor processor, the first is node "
            f"{first.index} ({first.op}): only a model that it takes whole is emulated"
        )
    [context] = compiled.contexts.values()
    with scratch_folder() as folder:
        session = _Session(context, compiled.graph, folder, SOCS[soc].number)
        return _run(session, inputs, progress)


def _run(session: "_Session", inputs: tuple[Array, ...], progress: Progress) -> VendorEmulation:
    batch, samples = len(inputs[0]) // session.steps(inputs), session.steps(inputs)
    started = time.perf_counter_ns()
    rows = []
    for step in range(samples):
        progress("emulating on the HTP emulator", step, samples)
        taken = [np.ascontiguousarray(x[step * batch : (step + 1) * batch]) for x in inputs]
        rows.append(session.run(taken))
    elapsed = time.perf_counter_ns() - started
    outputs = tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))
    return VendorEmulation(outputs, elapsed, session.facts)


class _Session:
    """The context in an onnxruntime session, and what the library says of itself."""

    def __init__(self, context: Context, graph: Graph, folder: Path, soc_number: int) -> None:
        import onnxruntime

        # The compiler lists a part's tensors in an order of its own.
        self.inputs = [graph.tensors[index] for index in graph.inputs]
        self.outputs = [graph.tensors[index].name for index in graph.outputs]
        if {t.name for t in context.inputs} != {t.name for t in self.inputs} or not set(
            self.outputs
        ) <= {t.name for t in context.outputs}:
            raise ModelError(f"context {context.name}: it does not have the model's own tensors")
        model = _wrap(context, folder)
        zeros = [np.zeros(tensor.shape, tensor.dtype) for tensor in self.inputs]
        with _captured(folder / "log") as log:
            # Before the library is registered, or it stays silent.
            onnxruntime.set_default_logger_severity(_VERBOSE)
            try:
                self.session = onnxruntime.InferenceSession(str(model), _options(soc_number))
                self.run(zeros)
            except Exception as error:  # onnxruntime's own kinds, all for a context it refuses
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise ModelError(
                    f"the HTP emulator refuses the context {context.name}: {first[:400]}"
                ) from error
            finally:
                onnxruntime.set_default_logger_severity(_ERRORS)
        self.facts = _facts(log.read_text(errors="replace"))

    def steps(self, inputs: tuple[Array, ...]) -> int:
        """How many invocations the inputs are."""
        shape = self.inputs[0].shape
        return max(1, len(inputs[0]) // (shape[0] if shape else 1))

    def run(self, inputs: list[Array]) -> list[Array]:
        """One invocation; inputs and outputs in the model's order."""
        names = [tensor.name for tensor in self.inputs]
        done = self.session.run(self.outputs, dict(zip(names, inputs, strict=True)))
        return [np.asarray(x) for x in done]


def _options(soc_number: int) -> Any:  # noqa: ANN401  of a package without types
    """The HTP emulator of a chip, and nothing beside it: a node may not fall back to the CPU."""
    import onnxruntime
    import onnxruntime_qnn

    onnxruntime.register_execution_provider_library(_PROVIDER, onnxruntime_qnn.get_library_path())
    devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == _PROVIDER]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    chosen = {
        "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
        "soc_model": str(soc_number),
    }
    options.add_provider_for_devices(devices[:1], chosen)
    return options


def _wrap(context: Context, folder: Path) -> Path:
    """An ONNX model of one node that names the context binary beside it."""
    import onnx
    from onnx import helper

    (folder / "context.bin").write_bytes(context.content)
    node = helper.make_node(
        "EPContext",
        [tensor.name for tensor in context.inputs],
        [tensor.name for tensor in context.outputs],
        name=context.name,
        domain="com.microsoft",
        main_context=1,
        embed_mode=0,
        ep_cache_context="context.bin",
        source=_PROVIDER,
        partition_name=context.name,
    )
    sides = [
        [
            helper.make_tensor_value_info(
                tensor.name, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), tensor.shape
            )
            for tensor in tensors
        ]
        for tensors in (context.inputs, context.outputs)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph([node], "context", *sides), opset_imports=imports, ir_version=9
    )
    path = folder / "context.onnx"
    onnx.save(model, str(path))
    return path


@contextmanager
def _captured(log: Path) -> Iterator[Path]:
    """What the libraries print goes to a file; they write to the descriptors themselves."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with log.open("wb") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        try:
            yield log
        finally:
            for descriptor, old in zip((1, 2), kept, strict=True):
                os.dup2(old, descriptor)
                os.close(old)


def _facts(printed: str) -> dict[str, str]:
    """The emulated architecture and the build of the libraries, by their own word."""
    arch, build = _ARCH.search(printed), _BUILD.search(printed)
    if arch is None or build is None:
        raise ModelError("the HTP emulator does not say which architecture it emulates")
    return {
        "architecture": f"{arch[2]} asked for, {arch[1]} emulated",
        "QAIRT build": build[1],
    }
