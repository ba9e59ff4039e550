"""Artifact: the file for the device, with its manifest. Named by its sha256 everywhere.

The manifest also holds the float boundary: how a float sample in the model's own layout becomes the
integers that the device takes, and back. That boundary is ours on every target, so that two targets
of the same model are fed from the same samples.
"""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import ModelError, UsageError
from harness.host.plain_files import open_plain, read_plain
from harness.host.wording import first_fault
from harness.placement import PlacementReport

MANIFEST_SCHEMA = 1
_CHUNK_BYTES = 1 << 20
_MOST_MANIFEST_BYTES = 1 << 30


@dataclass(frozen=True)
class Quantization:
    """Affine quantization of an input or output: ``real = scale * (x_q - zero_point)``, per
    tensor."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings")

    scale: float
    zero_point: int


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an artifact, as the runtime sees it.

    Attributes:
        name: the tensor's name in the artifact.
        shape: as in the file.
        dtype: numpy name, e.g. ``int8``.
        quantization: None for float tensors, and for integers that carry no scale (indices,
            labels).
        permutation: axes of the model's own layout in the artifact's order, e.g. ``(0, 2, 3, 1)``
            where an NCHW model became an NHWC artifact; None when they are the same.
        batched: of an input: the first dimension is the batch; else the input is no sample's but
            every invocation's, as `harness.model.ModelInput` has it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    permutation: tuple[int, ...] | None = None
    batched: bool = True


@dataclass(frozen=True)
class Finding:
    """Something about a lowered file that its reader should know.

    Attributes:
        kind: of the finding, e.g. ``saturated-bias``; the same word for the same cause.
        where: tensor or module that it was found on; "" for the whole file.
        message: what was found, one sentence.
        remedy: what to do about it.
        severity: "warn" where a run cannot be a plain PASS with it, see `harness.judge.limits`.
    """

    kind: str
    where: str
    message: str
    remedy: str
    severity: Literal["warn", "note"] = "note"

    def __str__(self) -> str:
        """What, where and what to do, in one sentence."""
        said = f"{self.where}: {self.message}" if self.where else self.message
        return f"{said}; {self.remedy}" if self.remedy else said


@dataclass(frozen=True)
class Layer:
    """What a recipe did to one layer: an op with weights, or a product of activations.

    Attributes:
        name: path of the module in the user's source, as far as the file tells it; else the name
            of a tensor.
        op: as the runtime calls it.
        reached: "quantized" where weights and activations are what the recipe says, "partly" where
            some of them are, else "not".
        why: it is not quantized; "" where it is.
        weighted: whether it has weights of its own.
    """

    name: str
    op: str
    reached: Literal["quantized", "partly", "not"]
    why: str = ""
    weighted: bool = True


@dataclass(frozen=True)
class Origin:
    """What a tensor of the file is in the model.

    Attributes:
        node: the node of the exported program whose output it is.
        module: the user's module of that node; "" for the model itself.
    """

    node: str
    module: str

    def __str__(self) -> str:
        """As tables show it."""
        return f"{self.module} ({self.node})" if self.module else self.node


@dataclass(frozen=True)
class Manifest:
    """What an artifact is and how it came to be.

    Attributes:
        recipe_digest: `Recipe.digest` of the recipe; "" without one, and in files of before it was
            kept.
        findings: what was found in the lowered file.
        reached: what the recipe did to each layer; empty for a recipe that quantizes nothing.
        origins: by tensor inside the file, what it is in the model, where that is known.
        soc: the chip that it was compiled for; None where it runs on any.
        placement: what the accelerator's compiler did; None where none was called.
        vendor_build: build of the vendor's libraries that compiled it; empty where any will do.
    """

    sha256: str
    bytes: int
    runtime: str
    target: str
    recipe: str
    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tool_versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    reached: tuple[Layer, ...] = ()
    origins: dict[str, Origin] = field(default_factory=dict)
    soc: str | None = None
    placement: PlacementReport | None = None
    vendor_build: str = ""
    recipe_digest: str = ""
    schema: int = MANIFEST_SCHEMA


@dataclass(frozen=True)
class Artifact:
    """A lowered model on this host: the file and its manifest (stored beside it as
    ``<file>.json``)."""

    path: Path
    manifest: Manifest


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with open_plain(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def describe(
    path: Path,
    runtime: str,
    model: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> Artifact:
    """A file as an artifact; its manifest says what the file itself tells, and of what model it
    is. Nothing is stored beside it."""
    size, sha256 = path.stat().st_size, sha256_file(path)
    return Artifact(path, Manifest(sha256, size, runtime, "", "", model, inputs, outputs))


def manifest_path(artifact: Path) -> Path:
    """Where the manifest of an artifact file is stored."""
    return artifact.with_name(artifact.name + ".json")


def save_manifest(artifact: Artifact) -> None:
    """Write the manifest beside the artifact."""
    text = TypeAdapter(Manifest).dump_json(artifact.manifest, indent=2)
    manifest_path(artifact.path).write_bytes(text)


def save_artifact(artifact: Artifact, folder: Path) -> Artifact:
    """Copy an artifact and its manifest into a folder, made if absent.

    Raises:
        UsageError: the folder cannot be written.
    """
    copy = Artifact(folder / artifact.path.name, artifact.manifest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path, copy.path)
        save_manifest(copy)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
    return copy


def load_artifact(path: Path) -> Artifact:
    """Read an artifact and its manifest.

    Raises:
        ModelError: the manifest is missing or broken, or the file is not the one it describes.
    """
    try:
        manifest = TypeAdapter(Manifest).validate_json(
            read_plain(manifest_path(path), _MOST_MANIFEST_BYTES)
        )
        digest = sha256_file(path)
    except OSError as error:
        raise ModelError(f"artifact {path}: {error.strerror}: {error.filename}") from error
    except ValidationError as error:
        raise ModelError(
            f"artifact {path}: its manifest is broken: {first_fault(error)}"
        ) from error
    if digest != manifest.sha256:
        raise ModelError(
            f"artifact {path}: sha256 is {digest}, its manifest says {manifest.sha256}"
        )
    return Artifact(path, manifest)


def manifest_beside(path: Path) -> Manifest | None:
    """The manifest of a file that edgefarm made and nobody changed since; None for any other."""
    try:
        return load_artifact(path).manifest
    except ModelError:
        return None


def own_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Shape of a tensor in the model's own layout."""
    if spec.permutation is None:
        return spec.shape
    return tuple(spec.shape[spec.permutation.index(axis)] for axis in range(len(spec.shape)))


def dequantized(x_q: npt.NDArray[Any], scale: float, zero_point: int) -> npt.NDArray[np.float64]:
    """The numbers that integers quantized per tensor stand for: ours, no runtime's arithmetic."""
    return np.asarray((x_q.astype(np.float64) - zero_point) * scale, np.float64)


def to_device(spec: TensorSpec, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn samples in the model's own layout into what the artifact takes.

    Quantization is ``clip(round_half_even(x / scale) + zero_point)``, computed in float64 and named
    here because runtimes disagree about ties: the boundary is ours, so the same integers go to the
    device and to the emulator.

    Args:
        spec: the input.
        x: samples, float or already of the spec's dtype, or of another width; the first axis is
            the sample. With one axis more than the spec: whole inputs, see `on_device.slices`.

    Raises:
        UsageError: a value is outside what the artifact's dtype holds.
    """
    x = join_whole(spec.shape, x)
    if spec.permutation is not None:
        x = np.transpose(x, spec.permutation)
    dtype = np.dtype(spec.dtype)
    if spec.quantization is not None and x.dtype.kind == "f":
        limits = np.iinfo(dtype)
        scaled = (
            np.rint(x.astype(np.float64) / spec.quantization.scale) + spec.quantization.zero_point
        )
        return np.ascontiguousarray(np.clip(scaled, limits.min, limits.max), dtype=dtype)
    return np.ascontiguousarray(cast(x, dtype, f"input {spec.name!r}"))


def join_whole(shape: tuple[int, ...], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Whole inputs of that shape, with an axis that counts them, joined along their first axis;
    samples as they are."""
    if x.ndim == len(shape) + 1 and shape:
        return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    return x


def cast(x: npt.NDArray[Any], dtype: np.dtype[Any], where: str) -> npt.NDArray[Any]:
    """The values of `x` in another dtype.

    Raises:
        UsageError: a value does not fit; names it, with its place and what is allowed.
    """
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        y = x.astype(dtype)
    wrong = (y != x) if dtype.kind in "iub" else (np.isinf(y) & np.isfinite(x))
    if wrong.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(wrong)))
        x = np.atleast_1d(x)
        if dtype.kind == "b":
            allowed = "0 and 1"
        else:
            limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
            allowed = f"{limits.min} to {limits.max}"
        raise UsageError(
            f"{where}: sample {place[0]}, element {place[1:]}: {x[place]} does not fit {dtype}; "
            f"allowed: {allowed}"
        )
    return y


def from_device(spec: TensorSpec, x_q: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn an artifact's output into float32 in the model's own layout; integers without a
    scale stay."""
    x = x_q
    if spec.quantization is not None:
        real = dequantized(x_q, spec.quantization.scale, spec.quantization.zero_point)
        x = real.astype(np.float32)
    if spec.permutation is not None:
        x = np.transpose(x, np.argsort(spec.permutation))
    return x
