"""Model: what was submitted, as the host understands it without keeping it in memory."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInput:
    """One input of a model.

    Attributes:
        shape: in the model's own layout, as in its example inputs; the first dimension is the
            batch.
        dtype: numpy name.
        quantized: integers with a scale (of a quantized ``.tflite``), so floats are taken as well.
    """

    shape: tuple[int, ...]
    dtype: str
    quantized: bool = False


@dataclass(frozen=True)
class Model:
    """A submitted model.

    Attributes:
        reference: as the user gave it.
        resolved: the same with absolute paths; what crosses into subprocesses.
        sha256: of the content: the file's bytes (``.tflite``), or the exported graph and weights.
        inputs: in order.
        quantized: a ``.tflite`` that came quantized; it takes no recipe.
        compiled: it came compiled for an accelerator as well; no runtime of a host opens it.
    """

    reference: str
    resolved: str
    sha256: str
    inputs: tuple[ModelInput, ...]
    quantized: bool = False
    compiled: bool = False
