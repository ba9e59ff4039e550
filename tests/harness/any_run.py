"""Any value that a record can hold, for hypothesis: what a `run.json` from anywhere may say."""

from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le
from hypothesis import strategies as st

from harness.protocol import MachineState, OpTime, Result
from harness.records import Outcome

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
COUNTS = st.integers(0, (1 << 63) - 1)
STATES = st.builds(
    MachineState,
    governor=st.none() | TEXT,
    frequencies_khz=st.lists(COUNTS, max_size=2).map(tuple),
    temperatures_millidegree=st.dictionaries(TEXT, st.integers(-(10**6), 10**6), max_size=2),
    load_average=st.none() | st.floats(0, 1e6),
)
RESULTS = st.builds(
    Result,
    outputs=st.lists(TEXT, max_size=2).map(tuple),
    runtime=TEXT,
    latency_ns=st.lists(COUNTS, max_size=3).map(tuple),
    peak_rss_bytes=st.none() | COUNTS,
    op_times=st.lists(
        st.builds(OpTime, node=COUNTS, op=TEXT, total_ns=COUNTS, runs=COUNTS), max_size=1
    ).map(tuple),
    before=STATES,
    after=STATES,
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that the records use."""
    plain = {
        bool: st.booleans(),
        int: st.integers(-(1 << 63), 1 << 64),
        float: st.floats(allow_nan=False),
        str: TEXT,
        type(None): st.none(),
        Result: RESULTS,
    }
    if kind in plain:
        return plain[kind]
    if get_origin(kind) is Annotated:
        bounds = [bound for field in kind.__metadata__ for bound in getattr(field, "metadata", ())]
        low = next((bound.ge for bound in bounds if isinstance(bound, Ge)), None)
        high = next((bound.le for bound in bounds if isinstance(bound, Le)), None)
        return st.integers(low, high) if bounds else values_of(kind.__origin__)
    if get_args(kind):
        return _values_of_generic(get_origin(kind), get_args(kind))
    if kind is Outcome:
        return st.sampled_from(list(Outcome))
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(
        kind,
        **{
            field.name: values_of(hints[field.name])
            for field in fields(kind)
            if field.name != "schema"
        },
    )


def _values_of_generic(origin: Any, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin is Literal:
        return st.sampled_from(arguments)
    parts = [values_of(one) for one in arguments if one is not Ellipsis]
    if origin is dict:
        return st.dictionaries(*parts, max_size=2)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(parts[0], max_size=2).map(tuple)
    return st.tuples(*parts) if origin is tuple else st.one_of(parts)
