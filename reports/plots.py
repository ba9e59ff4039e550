"""Plots: static SVG, drawn by Vega-Lite, in the colours of the page they are put into.

Colours are CSS variables and ``currentColor``, so one drawing serves light and dark pages. The
text of a drawing is escaped by Vega; names are made printable before.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from harness.records import Latency, TensorComparison, TensorCost
from reports import words

WIDTH = 640
_MOST_POINTS = 600
"""Of latency samples in one drawing; more are thinned evenly, and the drawing's title says so."""


def available() -> bool:
    """Whether what draws is installed: the extra ``plots``."""
    return all(find_spec(name) is not None for name in ("altair", "vl_convert"))


def lsb_histogram(one: TensorComparison) -> str:
    """How many elements are off by how much; equal ones are not drawn, for they would dwarf the
    rest."""
    import altair as alt

    counts = {step: count for step, count in one.histogram if step}
    reach = max([3, *map(abs, counts)])
    rows = [
        {"step": words.histogram_label(step), "count": counts.get(step, 0)}
        for step in range(-reach, reach + 1)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("step:O", sort=None, title=f"device - emulator, in {words.unit((one,))}").axis(
            labelAngle=0
        ),
        y=alt.Y("count:Q", title="elements").axis(tickCount=4),
    )
    bars = base.mark_bar(color="var(--fail)", cornerRadiusEnd=2, size=max(8, 240 // (reach + 4)))
    labels = (
        base.transform_filter("datum.count > 0")
        .mark_text(dy=-6, color="currentColor", fontSize=10)
        .encode(text=alt.Text("count:Q", format=","))
    )
    return _svg(bars + labels, height=130)


def growth(compared: Sequence[TensorComparison]) -> str:
    """The share of differing elements, tensor by tensor in execution order."""
    import altair as alt

    rows = [
        {"node": one.node, "share": (one.differing or 0) / one.elements}
        for one in compared
        if one.elements and one.differing is not None and one.node is not None
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color="var(--fail)", cornerRadiusEnd=1)
        .encode(
            x=alt.X("node:O", title="node, in execution order").axis(
                labelAngle=0, labelOverlap="greedy", ticks=False
            ),
            # A node with two outputs has one bar: the worse.
            y=alt.Y("max(share):Q", title="differing").axis(format="%", tickCount=4),
        )
    )
    return _svg(chart, height=110)


def sqnr(costs: Sequence[TensorCost]) -> str:
    """SQNR, tensor by tensor in the order given; a tensor that is equal (infinite SQNR) has no
    dot."""
    import altair as alt

    rows = [
        {"order": order, "sqnr": cost.sqnr_db}
        for order, cost in enumerate(costs)
        if abs(cost.sqnr_db) != float("inf")
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("order:Q", title="tensors, in execution order").axis(labels=False, ticks=False),
        y=alt.Y("sqnr:Q", title="SQNR, dB").scale(zero=False, nice=True).axis(tickCount=5),
    )
    line = base.mark_line(color="var(--accent)", strokeWidth=1.5, opacity=0.5)
    return _svg(line + base.mark_circle(color="var(--accent)", size=28, opacity=1), height=140)


def latency(measured: Latency) -> str:
    """Every timed invocation in the order of measuring, restart by restart, with the median.

    A few stragglers would flatten the rest: the scale ends above p99, and slower ones are drawn at
    its end.
    """
    import altair as alt

    unit, scale = words.time_unit(measured.median_ns)
    flat = [(restart, ns) for restart, one in enumerate(measured.samples_ns) for ns in one]
    stride = -(-len(flat) // _MOST_POINTS)
    top = max(measured.p99_ns, 1.1 * measured.median_ns)
    rows = [
        {"order": order, "time": min(ns, top) / scale, "restart": restart % 2}
        for order, (restart, ns) in enumerate(flat)
        if order % stride == 0
    ]
    title = "invocations in order"
    if len(measured.samples_ns) > 1:
        title += f", {words.plural(len(measured.samples_ns), 'restart')} shaded in turn"
    if stride > 1:
        title += f", one of {stride} drawn"
    dots = (
        alt.Chart(alt.Data(values=rows))
        .mark_circle(size=16, opacity=0.75)
        .encode(
            x=alt.X("order:Q", title=title).axis(labels=False, ticks=False).scale(nice=False),
            y=alt.Y("time:Q", title=unit).scale(zero=False).axis(tickCount=5),
            color=alt.Color("restart:N", legend=None).scale(
                domain=[0, 1], range=["var(--accent)", "var(--accent-2)"]
            ),
        )
    )
    median = (
        alt.Chart(alt.Data(values=[{"time": measured.median_ns / scale}]))
        .mark_rule(color="currentColor", strokeDash=[4, 3])
        .encode(y="time:Q")
    )
    return _svg(dots + median, height=150)


def _svg(chart: Any, height: int) -> str:  # noqa: ANN401  altair has no types
    """Render with the page's colours; the figure around it carries the description."""
    import vl_convert

    styled = (
        chart.properties(width=WIDTH, height=height)
        .configure(background="transparent", font="inherit", aria=False)
        .configure_axis(
            labelColor="currentColor",
            titleColor="currentColor",
            titleFontWeight="normal",
            labelFontSize=11,
            titleFontSize=11,
            gridColor="var(--line)",
            domainColor="var(--line)",
            tickColor="var(--line)",
        )
        .configure_axisX(grid=False)
        .configure_view(stroke=None)
    )
    # Not held against Vega-Lite's schema: that takes longer than to draw, and the charts are ours.
    return str(vl_convert.vegalite_to_svg(styled.to_dict(validate=False)))
