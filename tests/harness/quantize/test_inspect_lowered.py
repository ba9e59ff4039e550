"""One pass over a lowered graph, and what the recipe reached in it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.artifact import Layer, Manifest
from harness.emulator.graph import Graph, Node, Quantization, Tensor
from harness.errors import ModelError
from harness.quantize.inspect_lowered import clipped_constants, inspect, narrow_outputs
from harness.quantize.litert.reached import layers_of, module_path
from harness.quantize.reached import reached_line, with_reached
from harness.recipe import RECIPES

STATIC = RECIPES["static_wi8_ai8"]
MANIFEST = Manifest("0", 1, "litert", "host-litert", STATIC.name, "net.py:net", (), ())


def quantized(scale: float, zero_point: int = 0) -> Quantization:
    return Quantization(np.asarray([scale], np.float32), np.asarray([zero_point], np.int64))


def tensor(index: int, name: str, dtype: str, scale: float | None, data: Any = None) -> Tensor:
    values = None if data is None else np.asarray(data, dtype)
    how = None if scale is None else quantized(scale)
    return Tensor(index, name, (1, 2), dtype, how, values)


def linear(
    x: float = 0.1, w: float = 0.01, y: float = 0.1, bias: tuple[int, int] = (3, 4)
) -> Graph:
    tensors = (
        tensor(0, "x", "int8", x),
        tensor(1, "net.Net/torch.nn.Linear_head;1", "int8", w, [[1, 2]]),
        tensor(2, "net.Net/torch.nn.Linear_head;2", "int32", x * w, bias),
        tensor(3, "y", "int8", y),
    )
    return Graph("main", tensors, (Node(0, "FULLY_CONNECTED", (0, 1, 2), (3,)),), (0,), (3,))


def changed(graph: Graph, index: int, **fields: Any) -> Graph:
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], **fields)
    return replace(graph, tensors=tuple(tensors))


def test_a_sound_graph_has_no_findings() -> None:
    assert inspect(linear()) == ()
    assert narrow_outputs(linear()) == {}


@pytest.mark.parametrize(
    ("graph", "kind", "where"),
    [
        (linear(y=3.9e-12), "degenerate-scale", "y"),
        (linear(w=7e-12), "degenerate-scale", "head (net.Net/torch.nn.Linear_head;1)"),
        (linear(y=1e-6), "scale-ratio", "y"),
        (linear(bias=(3, -(2**31))), "saturated-bias", "head (net.Net/torch.nn.Linear_head;2)"),
        (linear(bias=(2**31 - 1, 0)), "saturated-bias", "head (net.Net/torch.nn.Linear_head;2)"),
        (
            changed(linear(), 1, dtype="float32", data=np.asarray([np.nan, 1]), quantization=None),
            "nan-constant",
            "head (net.Net/torch.nn.Linear_head;1)",
        ),
    ],
)
def test_each_kind_is_found_and_named(graph: Graph, kind: str, where: str) -> None:
    found = [one for one in inspect(graph) if one.kind == kind]
    assert [(one.where, one.severity) for one in found] == [(where, "warn")]
    assert found[0].message
    assert found[0].remedy


def test_the_least_scale_that_xnnpack_takes_is_named() -> None:
    (least,) = narrow_outputs(linear(y=1e-6)).values()
    assert 0.1 * 0.01 / least < 256


def test_constants_outside_their_range_are_found() -> None:
    source = changed(linear(), 1, dtype="float32", quantization=None)
    whole = changed(source, 1, data=np.asarray([[0.01, 1.27]]))
    assert clipped_constants(whole, linear()) == ()
    (found,) = clipped_constants(changed(source, 1, data=np.asarray([[0.01, -np.inf]])), linear())
    assert (found.kind, found.severity) == ("clipped-constant", "warn")
    assert "1 of 2 values, e.g. -inf, are clipped to [-1.28, 1.27]" in found.message


def test_layers_are_read_from_the_file() -> None:
    assert layers_of(linear(), STATIC) == (Layer("head", "FULLY_CONNECTED", "quantized"),)
    real = changed(linear(), 1, dtype="float32", quantization=None)
    (partly,) = layers_of(real, STATIC)
    assert (partly.reached, partly.why) == ("partly", "its weights stayed float")
    only_weights = changed(changed(linear(), 0, quantization=None), 3, quantization=None)
    assert layers_of(only_weights, RECIPES["dynamic_wi8_afp32"])[0].reached == "quantized"
    assert layers_of(only_weights, STATIC)[0].reached == "partly"
    (not_at_all,) = layers_of(changed(only_weights, 1, quantization=None), STATIC)
    assert not_at_all.reached == "not"
    assert not_at_all.why


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.Net/torch.nn.modules.linear.Linear_q;2", "q"),
        (
            "net.make.<locals>.M/torch.nn.ModuleList_layers/net.Block_0/torch.Linear_fc;",
            "layers.0.fc",
        ),
        ("a.Wrapper/b.Flat_wrapped/net.Net_model/torch.Conv2d_stem;1;;other", "stem"),
        ("arith.constant1", "arith.constant1"),
    ],
)
def test_the_module_path_of_a_tensor(name: str, path: str) -> None:
    assert module_path(name) == path


DONE = Layer("a", "linear", "quantized")
LEFT = Layer("b", "linear", "not", "no rule")


def test_the_line_says_how_many_and_why() -> None:
    product = Layer("c", "bmm", "not", "in float", weighted=False)
    assert reached_line([DONE, DONE, LEFT, product]) == (
        "2 of 3 layers quantized; not quantized: b (linear): no rule; "
        "products of activations in float: c (bmm): in float"
    )
    assert reached_line([]) == ""


def test_a_recipe_that_reached_nothing_is_an_error() -> None:
    product = Layer("c", "bmm", "quantized", weighted=False)
    with pytest.raises(ModelError, match=r"nothing for host-litert: b \(linear\): no rule"):
        with_reached(MANIFEST, STATIC, [LEFT, product])
    assert with_reached(MANIFEST, RECIPES["float"], [LEFT]) == MANIFEST
    assert with_reached(MANIFEST, STATIC, []) == MANIFEST


def test_a_recipe_that_reached_little_is_a_warning() -> None:
    most = with_reached(MANIFEST, STATIC, [DONE, replace(DONE, name="c"), LEFT])
    assert most.findings == ()
    assert most.notes == (
        "recipe static_wi8_ai8: 2 of 3 layers quantized; not quantized: b (linear): no rule",
    )
    assert len(most.reached) == 3
    half = with_reached(MANIFEST, STATIC, [DONE, LEFT])
    assert [(one.kind, one.severity) for one in half.findings] == [("recipe-not-reached", "warn")]
    whole = with_reached(MANIFEST, STATIC, [DONE])
    assert (whole.notes, whole.findings, whole.reached) == ((), (), (DONE,))


def test_the_steps_of_a_recurrent_layer_are_one_layer() -> None:
    steps = [LEFT, LEFT, DONE, replace(DONE, name="b")]
    reached = with_reached(MANIFEST, STATIC, steps).reached
    assert [(one.name, one.reached) for one in reached] == [("b", "partly"), ("a", "quantized")]


def test_a_table_that_is_looked_up_in_float_is_no_warning() -> None:
    table = Layer("e", "EMBEDDING_LOOKUP", "not", "no rule")
    made = with_reached(MANIFEST, STATIC, [DONE, table])
    assert made.findings == ()
    assert "1 of 2 layers quantized" in made.notes[0]
