"""Bias correction: what rounding the weights adds to a channel's mean is taken off its bias."""

from typing import TYPE_CHECKING

from pydantic import Field

from harness.errors import ModelError
from harness.quantize.float_model.fake_quantization import round_weights
from harness.quantize.float_model.layers import Layer, exported, layers_of
from harness.quantize.float_model.side_by_side import correct_in_order
from harness.quantize.technique import Draft, Options, Technique, integer_weights_only
from harness.recipe import Recipe

if TYPE_CHECKING:
    import torch


class Correction(Options):
    """Attributes:
    samples: of the calibration data that are used, at most.
    """

    samples: int = Field(default=32, ge=1, le=4096)


def correct(draft: Draft, options: Correction) -> None:
    """Layer by layer from the first on, so that each is corrected behind those corrected before.

    The mean error of each output channel goes into the bias, into the shift of the batch
    normalization behind, or into a bias that the layer gets. Layers that can take none stay.

    Raises:
        ModelError: there is no layer with weights that could be corrected.
    """
    import torch

    state = draft.module.state_dict()
    graph = exported(draft)
    layers = [x for x in layers_of(graph.graph, state) if _takes_bias(x, draft.module)]
    if not layers:
        raise ModelError(
            "step bias_correction finds no convolution or fully connected layer of its own weights "
            "whose bias it could change; leave it out"
        )
    weights = {x.weight: _rounded(x, state, draft.recipe) for x in layers}
    biases = []

    def mean_error(
        layer: Layer, plain: "list[torch.Tensor]", rounded: "list[torch.Tensor]"
    ) -> "torch.Tensor":
        error = torch.stack(
            [_mean(x - y, layer) for x, y in zip(plain, rounded, strict=True)]
        ).mean(0)
        biases.append((layer, error))
        return error.reshape(-1, *[1] * (plain[0].ndim - 2)) if layer.channel_axis == 1 else error

    correct_in_order(graph, layers, weights, draft.batches[: options.samples], mean_error)
    with torch.no_grad():
        for layer, error in biases:
            if layer.bias:
                state[layer.bias].add_(error)
            elif layer.norm:
                state[layer.norm.shift].add_(error * layer.slope(state))
            else:
                owner = draft.module.get_submodule(layer.weight.removesuffix(".weight"))
                owner.bias = torch.nn.Parameter(error)


def _rounded(layer: Layer, state: "dict[str, torch.Tensor]", recipe: Recipe) -> "torch.Tensor":
    """Its weight before the norm, as integers of the folded one stand for it."""
    import torch

    weight = state[layer.weight]
    slope = layer.slope(state).reshape(-1, *[1] * (weight.ndim - 1))
    kept = (0,) if recipe.weight_granularity == "channel" else ()
    folded = round_weights(layer.folded(state), recipe.weight_bits or 8, kept)
    return torch.where(slope != 0, folded / slope, weight)


def _mean(error: "torch.Tensor", layer: Layer) -> "torch.Tensor":
    """Of each output channel."""
    return error.movedim(layer.channel_axis, -1).flatten(0, -2).mean(0)


def _takes_bias(layer: Layer, module: "torch.nn.Module") -> bool:
    """Whether it has one, or its module can get one."""
    import torch

    if layer.bias or layer.norm:
        return True
    path, _, name = layer.weight.rpartition(".")
    owner = module.get_submodule(path)
    kinds = torch.nn.Linear | torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Conv3d
    return name == "weight" and isinstance(owner, kinds) and owner.bias is None


TECHNIQUE = Technique(
    name="bias_correction",
    stage="weights",
    options=Correction,
    apply=correct,
    summary="takes what rounding the weights adds to each channel's mean off its bias",
    reference="Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias "
    "Correction, section 4.2",
    refuses=integer_weights_only,
    helps=(
        "Where rounded weights move the mean of a channel: few bits, depthwise convolutions, "
        "one scale for a tensor. Costs nothing on the device; behind a step that rounds "
        "weights well there is little left to correct."
    ),
    chooses=False,
)
