"""Hexagon through ExecuTorch: only with a QAIRT SDK of the version that executorch was built for.

With another one the backend fails deep inside ("Failed to create device_handle"), so the versions
are compared before anything is done. Isolated only.
"""

import ctypes
import os
import re
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import (
    Artifact,
    TensorSpec,
    load_artifact,
    save_manifest,
)
from harness.errors import ModelError, UsageError
from harness.host.extras import require_extra
from harness.host.progress import Progress
from harness.on_device.slices import count_slices, invocations
from harness.placement import PlacementReport
from harness.quantize.described import described
from harness.quantize.samples import model_batches
from harness.quantize.tools import tool_versions
from harness.quantize.trial import run_executorch
from harness.recipe import RECIPES
from harness.sources.models import load_float32, parse_model
from harness.sources.npz import read_npz
from harness.target import LoweringRequest, VendorEmulation
from targets.executorch_placing import check_executorch

BACKEND = "QnnBackend"
_ROOT = "QNN_SDK_ROOT"
_HOST = Path("lib") / "x86_64-linux-clang"
_SETTING = re.compile(r'"QNN_VERSION", "([0-9.]+)"')
_YAML = re.compile(r"^version:\s*([0-9.]+)", re.MULTILINE)
_BUILD = re.compile(rb"v(\d+\.\d+\.\d+\.\d{6,})")
_LIBRARIES = ("libQnnSystem.so", "libHtpPrepare.so", "libQnnHtp.so")


def wanted_sdk() -> str:
    """Version of the QAIRT SDK that the installed executorch was built for.

    Raises:
        UsageError: executorch is not installed, or does not say.
    """
    require_extra("executorch", "executorch")
    found = find_spec("executorch")  # importing its Qualcomm package would download an SDK
    for folder in (found.submodule_search_locations or []) if found else []:
        script = Path(folder) / "backends" / "qualcomm" / "scripts" / "download_qnn_sdk.py"
        if script.is_file() and (said := _SETTING.search(script.read_text())):
            return said[1]
    raise UsageError("the installed executorch has no backend for Qualcomm: x86-64 Linux has one")


def installed_sdk(root: Path) -> str:
    """Version of the QAIRT SDK in a folder.

    Raises:
        UsageError: there is none for x86-64 Linux.
    """
    description, library = root / "sdk.yaml", root / _HOST / "libQnnSystem.so"
    if not library.is_file():
        raise UsageError(f"{_ROOT}={root}: no QAIRT SDK: {library} is missing")
    if description.is_file() and (said := _YAML.search(description.read_text(errors="replace"))):
        return said[1]
    built = _BUILD.search(library.read_bytes())
    if built is None:
        raise UsageError(f"{_ROOT}={root}: {library} does not say its version")
    return built[1].decode()


def require_sdk() -> Path:
    """The SDK that `QNN_SDK_ROOT` names, when it fits.

    Raises:
        UsageError: there is none, or it is of another version; the message names both and the
            remedy.
    """
    wanted, named = wanted_sdk(), os.environ.get(_ROOT)
    remedy = (
        f"install the QAIRT SDK {wanted} (Qualcomm's software center) and let {_ROOT} name its "
        "folder; hexagon-litert needs none"
    )
    if not named:
        raise UsageError(
            f"executorch {version('executorch')} was built for QAIRT {wanted}, and {_ROOT} is not "
            f"set: {remedy}"
        )
    found = installed_sdk(Path(named))
    if found.split(".")[:2] != wanted.split(".")[:2]:
        raise UsageError(
            f"executorch {version('executorch')} was built for QAIRT {wanted}, {_ROOT}={named} is "
            f"{found}, with which its backend fails: {remedy}"
        )
    return Path(named)


def lower_qnn(request: LoweringRequest, progress: Progress) -> Artifact:
    """Make a ``.pte`` whose ops are in a context for a chip.

    Raises:
        UsageError: no fitting SDK.
        ModelError: the model cannot be exported or lowered.
    """
    _load_libraries(require_sdk())
    if request.recipe is None or request.soc is None:
        raise UsageError("hexagon-executorch needs a PyTorch model, a recipe and a --soc")
    plain = RECIPES["static_wi8_ai8"]
    if request.recipe.digest() != plain.digest():
        raise UsageError(
            f"hexagon-executorch quantizes by {plain.name} only, without steps; "
            f"got recipe {request.recipe.name}"
        )
    import torch
    from executorch.backends.qualcomm.quantizer.quantizer import QnnQuantizer
    from executorch.backends.qualcomm.utils import utils
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    module, examples = load_float32(parse_model(request.model.resolved))
    prepared = prepare_pt2e(
        torch.export.export(module, examples).module(check_guards=False), QnnQuantizer()
    )
    batches = list(model_batches(request.model, read_npz(request.calibration), examples))
    for done, batch in enumerate(batches):
        progress("calibrating", done, len(batches))
        prepared(*batch)
    converted = convert_pt2e(prepared)
    outputs = converted(*examples)
    options = utils.generate_htp_compiler_spec(use_fp16=False)
    chip = utils.get_soc_to_chipset_map()[request.soc]
    spec = utils.generate_qnn_executorch_compiler_spec(soc_model=chip, backend_options=options)
    program = utils.to_edge_transform_and_lower_to_qnn(converted, examples, spec)
    path = request.folder / "model.pte"
    path.write_bytes(program.to_executorch().buffer)
    flat = outputs if isinstance(outputs, tuple | list) else (outputs,)
    artifact = described(
        request,
        path,
        "executorch",
        _specs("in", examples),
        _specs("out", flat),
        tool_versions=tool_versions() | {"QAIRT": wanted_sdk()},
        soc=request.soc,
    )
    save_manifest(artifact)
    return artifact


def check_qnn(path: Path, soc: str | None, progress: Progress) -> PlacementReport:
    """Where the ops of a program run: its calls of `BACKEND` on the tensor processor.

    Raises:
        UsageError: no fitting SDK.
        ModelError: the file is no program.
    """
    require_sdk()
    return check_executorch(path, soc, progress, accelerators={BACKEND: "hexagon"})


def emulate_qnn(
    path: Path, soc: str, inputs: tuple[npt.NDArray[Any], ...], progress: Progress
) -> VendorEmulation:
    """Run a program on the HTP emulator of the SDK.

    Raises:
        UsageError: no fitting SDK.
        ModelError: the program is for another chip.
    """
    _load_libraries(require_sdk())
    manifest = load_artifact(path).manifest
    if manifest.soc != soc:
        raise ModelError(f"{path}: compiled for {manifest.soc}, asked to run as {soc}")
    started, slices = time.perf_counter_ns(), count_slices(manifest.inputs, inputs)
    rows = []
    for number, taken in enumerate(invocations(manifest.inputs, inputs)):
        progress("emulating on the HTP emulator", number, slices)
        rows.append([np.atleast_1d(x) for x in run_executorch(path, taken)])
    elapsed = time.perf_counter_ns() - started
    joined = tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))
    return VendorEmulation(joined, elapsed, {"QAIRT": wanted_sdk()})


def _load_libraries(root: Path) -> None:
    """Load the SDK's libraries where the backend will look for them: in this process."""
    for name in _LIBRARIES:
        if (root / _HOST / name).is_file():
            ctypes.CDLL(str(root / _HOST / name), mode=ctypes.RTLD_GLOBAL)


def _specs(name: str, tensors: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401  torch tensors
    return tuple(
        TensorSpec(f"{name}{index}", tuple(x.shape), str(x.dtype).removeprefix("torch."))
        for index, x in enumerate(tensors)
    )
