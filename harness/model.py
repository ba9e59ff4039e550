"""Model: what was submitted, as the host understands it without keeping it in memory."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInput:
    """One input of a model.

    Attributes:
        shape: in the model's own layout, as in its example inputs.
        dtype: numpy name.
        quantized: integers with a scale (of a quantized ``.tflite``), so floats are taken as well.
        batched: the first dimension is the batch; else the input is given whole with every
            invocation (a table of positions, a scalar).
        name: path in the example inputs, e.g. ``mask``; its position where it has no name.
        free_axes: axes whose size a ``.tflite`` leaves open.
    """

    shape: tuple[int, ...]
    dtype: str
    quantized: bool = False
    batched: bool = True
    name: str = ""
    free_axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class ModelOutput:
    """One output of a model.

    Attributes:
        name: path in what the module returns, e.g. ``logits`` or ``aux.0``; of a ``.tflite`` the
            tensor's name.
        shape: in the model's own layout, as for the example inputs.
        dtype: numpy name.
        quantized: integers with a scale.
    """

    name: str
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
        quantized: a ``.tflite`` that came quantized, or a ``.pte``; it takes no recipe.
        compiled: it came compiled for an accelerator as well; no runtime of a host opens it.
        outputs: in order; the tensors of nested outputs, flattened.
        notes: what the reader of a result should know, e.g. about outputs that are no tensors.
        recipe, recipe_digest: of a file that edgefarm made, by its manifest: the recipe's name and
            `Recipe.digest`; else "".
    """

    reference: str
    resolved: str
    sha256: str
    inputs: tuple[ModelInput, ...]
    quantized: bool = False
    compiled: bool = False
    outputs: tuple[ModelOutput, ...] = ()
    notes: tuple[str, ...] = ()
    recipe: str = ""
    recipe_digest: str = ""

    def say_outputs(self, names: Sequence[str]) -> tuple[str, ...]:
        """A note on which output of an artifact is which of the model's; none where the model's
        have no names of their own.

        Args:
            names: of the artifact's outputs, in order.
        """
        pairs = list(zip(names, (output.name for output in self.outputs), strict=False))
        if all(own.isdecimal() or own == name for name, own in pairs):
            return ()
        return ("outputs: " + ", ".join(f"{name} is {own}" for name, own in pairs),)
