"""run.json reads back equal, and nothing else reads as a run."""

import json
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.device import Device
from harness.errors import ModelError
from harness.protocol import MachineState, OpTime, Result
from harness.records import (
    Divergence,
    Exactness,
    Outcome,
    Run,
    TensorComparison,
    dump_run,
    load_run,
    parse_run,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
COUNTS = st.integers(0, (1 << 63) - 1)
STATES = st.builds(
    MachineState,
    governor=st.none() | TEXT,
    frequencies_khz=st.lists(COUNTS, max_size=2).map(tuple),
    temperatures_millidegree=st.dictionaries(TEXT, st.integers(-(10**6), 10**6), max_size=2),
    load_average=st.none() | st.floats(allow_nan=False, allow_infinity=False),
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
    parts = [
        values_of(one) for one in arguments if isinstance(one, type | UnionType) or get_args(one)
    ]
    if origin is dict:
        return st.dictionaries(*parts, max_size=2)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(parts[0], max_size=2).map(tuple)
    return st.tuples(*parts) if origin is tuple else st.one_of(parts)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values_of(Run))
def test_a_run_reads_back_equal(run: Run) -> None:
    text = dump_run(run)
    assert parse_run(text) == run
    assert dump_run(parse_run(text)) == text


def run_with(got: float) -> Run:
    first = TensorComparison("t", "float", 1, 1, example=Divergence((0,), 1.0, got))
    return Run(
        "1",
        "2026-01-01T00:00:00Z",
        Outcome.PASS,
        "m",
        "d",
        "t",
        "r",
        Device("d", "local"),
        exactness=Exactness(None, "float", (first,)),
    )


@pytest.mark.parametrize("got", [float("nan"), float("inf"), float("-inf"), 2.5])
def test_the_json_is_strict_json_even_for_what_is_not_finite(got: float) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = dump_run(run_with(got))
    json.loads(text, parse_constant=refuse)
    assert dump_run(parse_run(text)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": "GREAT"}, "x/run.json: not a run: outcome: Input should be 'PASS'"),
        ({"schema": 99}, "x/run.json: run schema 99, this version reads 1"),
        ({"device": None}, "not a run: device: "),
    ],
)
def test_what_is_not_a_run_is_named(change: dict[str, Any], message: str) -> None:
    text = json.dumps(json.loads(dump_run(run_with(0.0))) | change)
    with pytest.raises(ModelError) as caught:
        parse_run(text.encode(), where="x/run.json")
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_broken_files_are_model_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a run"):
        load_run(path)


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        load_run(tmp_path / "run.json")
