"""The runner's way to an NPU: LiteRT's compiled models with a vendor's dispatch library.

Run as ``python3 -I edgefarm_npu.py RUNNER JOBDIR``, where RUNNER is edgefarm_runner.py: this file
replaces its LiteRT interpreter and nothing else. The vendor's libraries are those of the device's
own installation, in the first folder of LD_LIBRARY_PATH; they must be of the build that compiled
the model, or the job is refused before the model is opened.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from targets.runner import edgefarm_runner as runner

    Array = npt.NDArray[Any]
else:
    _LOADER = SourceFileLoader("edgefarm_runner", sys.argv[1])
    runner = module_from_spec(spec_from_loader(_LOADER.name, _LOADER))
    _LOADER.exec_module(runner)

SYSTEM_LIBRARY = "libQnnSystem.so"
BUILD = re.compile(rb"v\d+\.\d+\.\d+\.\d{6,}")


class LiteRtNpu(runner.LiteRt):
    """A compiled model, run through `ai_edge_litert.compiled_model`."""

    delegated = None  # it tells whether all of a model is accelerated, not of how many nodes

    def load(
        self, artifact: str, _kernels: str, _threads: int, delegate: runner.Json | None = None
    ) -> None:
        """Open the model for the NPU, ready to run."""
        wanted: runner.Json = delegate or {}
        folder = self.check_libraries(wanted)
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.environment import Environment
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator

        accelerator = HardwareAccelerator[wanted["options"].get("accelerator", "NPU")]
        environment = Environment.create(dispatch_library_path=str(folder))
        self.model = CompiledModel.from_file(
            artifact, hardware_accel=accelerator, environment=environment
        )
        signature = self.model.get_signature_by_index(0)
        given = self.model.get_input_tensor_details(signature["key"])
        made = self.model.get_output_tensor_details(signature["key"])
        self.given = [given[name] for name in signature["inputs"]]
        self.made = [made[name] for name in signature["outputs"]]
        self.shapes = [tuple(int(n) for n in detail["shape"]) for detail in self.given]
        self.input_buffers = self.model.create_input_buffers(0)
        self.output_buffers = self.model.create_output_buffers(0)

    def check_libraries(self, wanted: runner.Json) -> Path:
        """The folder of the vendor's libraries, once they are there and of the right build."""
        folder = Path(os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)[0] or "/nowhere")
        for name in (SYSTEM_LIBRARY, wanted["library"]):
            if not (folder / name).is_file():
                raise runner.JobError("runtime_missing", f"{folder / name}: no such library")
        found = BUILD.search((folder / SYSTEM_LIBRARY).read_bytes())
        build = found.group().decode() if found else "of no known build"
        if wanted["build"] and build != wanted["build"]:
            message = f"{folder} is QAIRT {build}, the model was compiled with {wanted['build']}"
            raise runner.JobError("runtime_missing", f"{message}: install that build, or compile")
        return folder

    def set_inputs(self, arrays: Sequence[Array]) -> None:
        """Give one slice to every input."""
        import numpy as np

        for buffer, array in zip(self.input_buffers, arrays):
            buffer.write(np.ascontiguousarray(array))

    def invoke(self) -> None:
        """Run once."""
        self.model.run_by_index(0, self.input_buffers, self.output_buffers)

    def outputs(self) -> list[Array]:
        """Copies of the outputs of the last run."""
        import numpy as np

        taken = []
        for buffer, detail in zip(self.output_buffers, self.made):
            dtype, shape = np.dtype(detail["dtype"]), detail["shape"]
            count = int(np.prod(shape))
            taken.append(np.array(buffer.read(count, dtype.type)).reshape(shape))
        return taken


if __name__ == "__main__":
    runner.LiteRt = LiteRtNpu  # type: ignore[misc]  # the one place where the runtime is chosen
    runner.main(Path(sys.argv[2]).resolve())
