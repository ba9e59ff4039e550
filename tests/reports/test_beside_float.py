"""Recipes beside float: the newest of each, what is slower, and what it is laid to."""

from dataclasses import replace

import pytest
from rich.console import Console

from harness.artifact import Layer
from harness.placement import Placement, PlacementReport
from harness.protocol import OpTime
from harness.recipe import RECIPES, load_recipe
from harness.records import Run
from reports.beside_float import beside, comparisons, said_of_speed
from reports.html import render
from reports.tables import recipes_detail, recipes_table

STEPPED = load_recipe("static_wi8_ai8 + percentile(upper=99.9)")


def placed(*ops: str, left: tuple[int, ...] = ()) -> PlacementReport:
    why = "built-in kernel: XNNPACK's delegate does not take it"
    return PlacementReport(
        tuple(Placement(i, op, f"t{i}", "cpu", why) for i, op in enumerate(ops)), left
    )


def timed(run: Run, recipe: str, factor: float, ops: dict[str, int] | None = None) -> Run:
    """A run of one recipe that takes so much longer; `ops` are the runtime's times in ns."""
    assert run.latency is not None
    low, high = run.latency.interval_ns
    latency = replace(
        run.latency,
        median_ns=run.latency.median_ns * factor,
        interval_ns=(low * factor, high * factor),
        representative=True,
        remark="",
    )
    times = tuple(OpTime(node=None, op=op, total_ns=ns, runs=1) for op, ns in (ops or {}).items())
    results = tuple(one.model_copy(update={"op_times": times}) for one in run.results)
    found = load_recipe(recipe)
    return replace(
        run,
        id=f"run-{found.digest()[:8]}",
        recipe=found.name,
        recipe_digest=found.digest(),
        latency=latency,
        results=results,
        placement=placed("CONV_2D", "MEAN"),
    )


@pytest.fixture
def in_float(passing: Run) -> Run:
    return timed(passing, "float", 1.0)


def test_float_comes_first_and_each_recipe_once(passing: Run, in_float: Run) -> None:
    old = timed(passing, "static_wi8_ai8", 3.0)
    new = replace(timed(passing, "static_wi8_ai8", 0.5), created="2026-11-23T17:05:00Z", id="new")
    elsewhere = replace(timed(passing, "static_wi8_ai16", 1.0), target="host-litert")
    (group,) = comparisons([new, old, in_float, elsewhere])
    assert [(one.called, one.ratio) for one in group] == [
        ("float", None), ("static_wi8_ai8", pytest.approx(0.5)),
    ]  # fmt: skip
    assert group[1].run.id == "new"
    assert not group[1].slower
    assert said_of_speed(group) == []
    assert comparisons([old, new]) == [], "nothing to hold them against"


def test_what_a_slower_recipe_is_laid_to(passing: Run, in_float: Run) -> None:
    in_float = timed(passing, "float", 1.0, {"Convolution (NHWC, F32) IGEMM": 100})
    run = timed(
        passing,
        "static_wi8_ai8",
        2.0,
        {
            "Convolution (NHWC, QC8) IGEMM": 250,
            "Convert (NC, F32, QS8)": 50,
            "Mean (ND) F32": 100,
        },
    )
    assert run.manifest is not None
    layers = (
        Layer("stem", "CONV_2D", "quantized"),
        Layer("head.norm", "LAYER_NORM", "not", "the quantizer does not know it"),
    )
    run = replace(
        run,
        manifest=replace(run.manifest, reached=layers),
        placement=placed("QUANTIZE", "CONV_2D", "DEQUANTIZE", "MEAN", "QUANTIZE", left=(3,)),
    )
    (told,) = said_of_speed(beside([run, in_float]))
    assert told.startswith("static_wi8_ai8 is slower than float: ")
    assert "ops stay float: 1 of 2 layers quantized; not quantized: head.norm" in told
    assert "1 of 5 ops are not delegated (float: 0): 1 MEAN (built-in kernel" in told
    assert "3 of 5 ops convert between floats, integers and scales, 12.5 % of the time" in told
    assert "2 QUANTIZE, 1 DEQUANTIZE" in told
    assert "Convolution takes 250 ns, in float 100 ns" in told
    assert "Mean takes 100 ns, in float none" in told
    assert "float kernels take 25.0 % of the time" in told
    assert "overlap" not in told


def test_integer_kernels_that_are_slower_are_said_to_be(passing: Run, in_float: Run) -> None:
    run = timed(passing, "static_wi8_ai8", 1.05)
    assert run.latency is not None
    wide = replace(run, latency=replace(run.latency, interval_ns=(1.0, 1e9)))
    (told,) = said_of_speed(beside([in_float, wide]))
    assert "the runtime's integer kernels themselves" in told
    assert "the 95 % intervals overlap" in told
    assert said_of_speed(beside([in_float, timed(passing, "static_wi8_ai8", 1.02)])) == []


def test_the_table_is_right_at_80_columns_and_the_page_has_it(
    passing: Run, broken: Run, in_float: Run
) -> None:
    """Every named recipe, one with a step, one that never ran, and times of a virtual board."""
    runs = [in_float, *(timed(passing, name, 12.345) for name in list(RECIPES)[1:])]
    runs.append(replace(timed(passing, "static_wi8_ai8", 1.0), latency=passing.latency, id="v",
                        recipe=STEPPED.name, recipe_digest=STEPPED.digest()))  # fmt: skip
    runs.append(replace(broken, recipe="mine", recipe_digest="d" * 64))
    group = beside(runs)
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as shown:
        console.print(recipes_table(group))
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in shown.get()
    for name in (*RECIPES, "+ percentile(upper=99.9)", "(virtual)", "12.3x float", "5.163 MiB"):
        assert any(name in line for line in lines), name
    with console.capture() as shown:
        console.print(recipes_detail(group))
    assert "mine: ERROR: " in " ".join(shown.get().split())
    page = render(runs)
    assert "Recipes beside float" in page
    assert "static_wi8_ai16 is slower than float" in page
    assert "Recipes beside float" not in render(runs[1:2])
