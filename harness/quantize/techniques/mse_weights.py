"""Scales of weights with the least squared error of rounding and clipping together."""

from harness.quantize.float_model.walking import turns
from harness.quantize.technique import Draft, Options, Technique, integer_weights_only


def choose(draft: Draft, _options: Options) -> None:
    """Put each weight on the grid with the least squared error. No samples are needed."""
    for turn in turns(draft):
        grid = turn.grid("mse")
        turn.put(grid.nearest(turn.rows()) * grid.scale)


TECHNIQUE = Technique(
    name="mse_weights",
    stage="weights",
    options=Options,
    apply=choose,
    summary="scales of weights with the least squared error of each channel",
    reference="Nagel et al. 2021, A White Paper on Neural Network Quantization, section 3.1",
    refuses=integer_weights_only,
    helps=(
        "Where a few weights of a channel are much larger than the rest and bits are few: at four "
        "bits clearly, at eight hardly. Needs no samples; gptq and adaround include it."
    ),
)
