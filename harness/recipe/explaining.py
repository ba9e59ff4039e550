"""What a scheme does and when it is the right one, in plain words."""

from harness.recipe.definition import Mode, Rule, Scheme

_DOES: dict[Mode, str] = {
    "float": "Nothing is quantized: the file computes what the model computes, in floats.",
    "dynamic": (
        "Weights are stored as int{weights}, {scales}. Activations stay float in the file; the "
        "kernels quantize them when the model runs, by the range that they have then."
    ),
    "weight_only": (
        "Weights are stored as int{weights}, {scales}, and turned back to floats when the model "
        "runs. All arithmetic is in floats."
    ),
    "static": (
        "Weights are int{weights}, {scales}; activations are int{activations}, by ranges that are "
        "observed on calibration samples beforehand. All arithmetic is in integers."
    ),
}
_HELPS: dict[Mode, str] = {
    "float": "The baseline that every other recipe is held against.",
    "dynamic": (
        "Where most of the time goes into large linear layers, where ranges differ much from "
        "sample to sample, or where there are no samples to calibrate with."
    ),
    "weight_only": (
        "Where the file must be small and the accuracy must stay; it is not faster than float."
    ),
    "static": (
        "Where the machine computes integers faster, or nothing else: microcontrollers and "
        "accelerators. Wants calibration samples like those to come."
    ),
}


def what_it_does(scheme: Scheme) -> str:
    """How weights and activations are stored and computed with."""
    scales = "with one scale for each output channel"
    if scheme.weight_granularity == "tensor":
        scales = "with one scale for the whole tensor"
    return _DOES[scheme.mode].format(
        weights=scheme.weight_bits, activations=scheme.activation_bits, scales=scales
    )


def when_it_helps(scheme: Scheme) -> str:
    """What it is for, and what it costs."""
    said = [_HELPS[scheme.mode]]
    if scheme.weight_bits is not None and scheme.weight_granularity == "tensor":
        said.append(
            "One scale for a tensor is for hardware that has no other: channels with small weights "
            "lose their resolution to those with large ones, in depthwise convolutions above all."
        )
    if scheme.activation_bits == 16:
        said.append(
            "16-bit activations lose next to nothing; on most CPUs their kernels are slower than "
            "those of floats."
        )
    if scheme.weight_bits == 4:
        said.append("4-bit weights halve the file once more, and want a step that chooses them.")
    return " ".join(said)


def rule_in_words(rule: Rule) -> str:
    """Which layers a rule takes, and what they get."""
    which = [f"named {', '.join(rule.names)}"] if rule.names else []
    which += [f"that compute {', '.join(rule.ops)}"] if rule.ops else []
    what = what_it_does(rule.scheme) if rule.scheme else "they stay in float."
    return f"Layers {' and '.join(which) or 'of the model'}: {what}"
