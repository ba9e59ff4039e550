"""GPTQ: weights are rounded one column after the other; those after it make up for what each cost,
by the second moments of the inputs."""

from typing import TYPE_CHECKING

from pydantic import Field

from harness.quantize.float_model.grid import Search
from harness.quantize.float_model.products import factors_of, rows_of
from harness.quantize.float_model.refitting import refit
from harness.quantize.float_model.walking import Turn, walk
from harness.quantize.technique import Draft, Options, Technique, integer_weights_only

if TYPE_CHECKING:
    import torch

_MOST_FLOATS = 2**26
"""Of the rows that are rounded at once: the head of a large vocabulary does not fit."""


class Gptq(Options):
    """Attributes:
    damp: share of the mean diagonal that is added to the second moments: more trusts the samples
        less.
    block: columns that are rounded before the rest is brought up to date.
    scale: ``max`` reaches the largest weight of a channel; ``mse`` may clip it.
    refit: whether scale and bias of each channel are fitted afterwards.
    """

    damp: float = Field(default=0.01, gt=0, le=10)
    block: int = Field(default=128, ge=1)
    scale: Search = "mse"
    refit: bool = True


def choose(draft: Draft, options: Gptq) -> None:
    """Put each weight on a grid, in the order in which the layers run."""
    for turn in walk(draft, "GPTQ"):
        before = turn.rows()
        turn.put(_chosen(turn, before, options))
        if options.refit:
            refit(turn, before)


def _chosen(turn: Turn, before: "torch.Tensor", options: Gptq) -> "torch.Tensor":
    """Rows on their grid, a bounded number at once."""
    import torch

    grid, layer = turn.grid(options.scale), turn.layer
    factor = inverse_factor(_second_moments(turn), options.damp)
    rows, scale, pinned = (rows_of(layer, x) for x in (before, grid.scale, grid.pinned))
    at_once = max(1, _MOST_FLOATS // (layer.groups * before.shape[1]))
    parts = [slice(first, first + at_once) for first in range(0, rows.shape[1], at_once)]
    codes = [
        rounded(
            *(rows[:, x], scale[:, x], pinned[:, x], factor),
            largest=grid.largest,
            block=options.block,
        )
        for x in parts
    ]
    return torch.cat(codes, 1).reshape(before.shape).float() * grid.scale


def _second_moments(turn: Turn) -> "torch.Tensor":
    """Of what the rows are multiplied with: (groups, columns, columns), in double precision."""
    import torch

    columns = turn.rows().shape[1]
    total, count = torch.zeros(turn.layer.groups, columns, columns, dtype=torch.double), 0
    for x in turn.chosen_inputs:
        factors = factors_of(turn.layer, x)
        count += factors.shape[1]
        total += factors.mT @ factors
    return total / count


def inverse_factor(moments: "torch.Tensor", damp: float) -> "torch.Tensor":
    """Upper Cholesky factor of the inverse of the damped second moments.

    A column that is always zero gets a moment of 1: its weights matter to nobody.
    """
    import torch

    damped = moments.clone()
    diagonal = damped.diagonal(dim1=-2, dim2=-1)
    diagonal[diagonal == 0] = 1.0
    diagonal += damp * diagonal.mean(-1, keepdim=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def rounded(
    rows: "torch.Tensor",
    scale: "torch.Tensor",
    pinned: "torch.Tensor",
    factor: "torch.Tensor",
    *,
    largest: int,
    block: int,
) -> "torch.Tensor":
    """Whole numbers for weights, column after column.

    Args:
        rows: (groups, rows, columns) of the float weight.
        scale: (groups, rows, 1).
        pinned: as rows, true where the number must be the largest.
        factor: see `inverse_factor`; (groups, columns, columns).
        largest: whole number.
        block: columns that are rounded before the rest is brought up to date.
    """
    import torch

    left = rows.double()
    ends = largest * left.sign()
    codes = torch.empty_like(left)
    columns = left.shape[-1]
    for first in range(0, columns, block):
        last = min(first + block, columns)
        errors = torch.empty_like(left[..., first:last])
        for at in range(first, last):
            column = left[..., at]
            code = (column / scale[..., 0]).round().clamp(-largest, largest)
            codes[..., at] = code.where(~pinned[..., at], ends[..., at])
            error = (column - codes[..., at] * scale[..., 0]) / factor[:, None, at, at]
            errors[..., at - first] = error
            left[..., at:last] -= error[..., None] * factor[:, None, at, at:last]
        left[..., last:] -= errors @ factor[:, first:last, last:]
    return codes


TECHNIQUE = Technique(
    name="gptq",
    stage="weights",
    options=Gptq,
    apply=choose,
    summary="weights rounded one after the other, each making up for those before",
    reference="Frantar et al. 2022, GPTQ: Accurate Post-Training Quantization for Generative "
    "Pre-trained Transformers",
    refuses=integer_weights_only,
    helps=(
        "At four bits, where inputs go together: fully connected layers and pointwise "
        "convolutions most. Seconds a layer; adaround takes longer and mostly loses less."
    ),
)
