"""What a recipe reached, in words: which layers are quantized, which are not and why."""

from collections.abc import Sequence
from dataclasses import replace

from harness.artifact import Finding, Layer, Manifest
from harness.errors import ModelError
from harness.recipe import Recipe

_MOST_NAMED = 6
BY_RULE = "the recipe leaves it in float"


def with_reached(manifest: Manifest, recipe: Recipe, layers: Sequence[Layer]) -> Manifest:
    """The manifest with the layers, a note where some were not reached, and a finding where most
    of those that compute were not: a table that is looked up in float costs no time.

    Raises:
        ModelError: the recipe quantizes, and nothing was quantized.
    """
    layers = _merged(layers)
    if (recipe.mode == "float" and not recipe.rules) or not layers:
        return manifest
    weighted = [layer for layer in layers if layer.weighted] or layers
    done = [layer for layer in weighted if layer.reached != "not"]
    if not done and any(layer.why != BY_RULE for layer in weighted):
        raise ModelError(
            f"{manifest.model}: recipe {recipe.name} quantized nothing for {manifest.target}: "
            f"{_named(weighted)}; use recipe float if floats will do, another recipe or target, "
            "or modules that the quantizer knows (nn.Linear, nn.Conv2d)"
        )
    line = reached_line(layers)
    whole = [layer for layer in weighted if layer.reached == "quantized"]
    notes, findings = manifest.notes, manifest.findings
    if len(whole) < len(weighted):
        notes = (*notes, f"recipe {recipe.name}: {line}")
    computing = [layer for layer in weighted if not layer.op.lower().startswith("embedding")]
    if computing and 2 * sum(layer in whole for layer in computing) <= len(computing):
        findings = (
            *findings,
            Finding(
                "recipe-not-reached",
                "",
                f"recipe {recipe.name}: only {line}",
                "read the sizes and times of this run as those of a float model, or use a recipe "
                "or modules that the quantizer covers",
                "warn",
            ),
        )
    return replace(manifest, reached=layers, notes=notes, findings=findings)


def reached_line(layers: Sequence[Layer]) -> str:
    """``12 of 14 layers quantized; not quantized: …``; "" for no layers."""
    if not layers:
        return ""
    counted = [layer for layer in layers if layer.weighted] or layers
    whole = [layer for layer in counted if layer.reached == "quantized"]
    line = f"{len(whole)} of {len(counted)} layers quantized"
    parts = [layer for layer in counted if layer.reached == "partly"]
    rest = [layer for layer in counted if layer.reached == "not"]
    between = [layer for layer in layers if layer not in counted and layer.reached != "quantized"]
    for what, some in (
        ("partly", parts),
        ("not quantized", rest),
        ("products of activations in float", between),
    ):
        if some:
            line += f"; {what}: {_named(some)}"
    return line


def _named(layers: Sequence[Layer]) -> str:
    """Names with reasons, each reason once."""
    reasons: dict[str, list[str]] = {}
    for layer in layers:
        reasons.setdefault(layer.why, []).append(f"{layer.name} ({layer.op})")
    said = []
    for why, names in reasons.items():
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        said.append(f"{', '.join(names[:_MOST_NAMED])}{more}{f': {why}' if why else ''}")
    return "; ".join(said)


def _merged(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """One layer for each name and op: a recurrent layer is many products."""
    found: dict[tuple[str, str], Layer] = {}
    for layer in layers:
        key = (layer.name, layer.op)
        before = found.get(key, layer)
        if before.reached != layer.reached:
            before = replace(before, reached="partly", why=before.why or layer.why)
        found[key] = before
    return tuple(found.values())
