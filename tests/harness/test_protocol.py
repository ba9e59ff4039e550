"""What a device says is taken at its word's exact kind only: it is untrusted."""

import json
from typing import Any

import pytest

from harness.errors import DeviceError
from harness.protocol import parse_result

STATE = {"load_average": 0, "temperatures_millidegree": {"cpu": -5000}, "frequencies_khz": [1]}


def test_a_result_of_plain_numbers_is_taken() -> None:
    fields = {"schema": 1, "load_ns": 5, "latency_ns": [0, (1 << 63) - 1], "before": STATE}
    result = parse_result(json.dumps(fields).encode(), device="d")
    assert (result.load_ns, result.before.load_average) == (5, 0.0)


@pytest.mark.parametrize("wrong", ["5", True, 5.0, -1, 1 << 63, [5], {}, "", "\u0665"])
@pytest.mark.parametrize(
    "place",
    ["load_ns", "peak_rss_bytes", "delegated", "latency_ns.0", "warmup_ns.0",
     "op_times.0.total_ns", "op_times.0.runs", "op_times.0.node", "before.frequencies_khz.0"],
)  # fmt: skip
def test_a_count_is_a_whole_number(place: str, wrong: object) -> None:
    refuse(place, wrong)


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("before.load_average", -0.5),
        ("after.load_average", True),
        ("before.load_average", "1.5"),
        ("before.load_average", 1e300),
        ("before.load_average", float("nan")),
        ("after.load_average", float("inf")),
        ("before.temperatures_millidegree.cpu", "5"),
        ("before.temperatures_millidegree.cpu", True),
        ("schema", True),
        ("schema", "1"),
        ("schema", 2),
        ("outputs.0", 5),
        ("runtime", None),
    ],
)
def test_other_things_of_a_wrong_kind(place: str, wrong: object) -> None:
    refuse(place, wrong)


def refuse(place: str, wrong: object) -> None:
    fields: dict[str, Any] = {
        "schema": 1,
        "outputs": [""],
        "latency_ns": [0],
        "warmup_ns": [0],
        "op_times": [{"node": 0, "op": "ADD", "total_ns": 1, "runs": 1}],
        "before": dict(STATE),
        "after": dict(STATE),
    }
    inner: Any = fields
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    for part in path:
        inner = inner[part]
    inner[last] = wrong
    with pytest.raises(DeviceError, match=r"result\.json (is not a runner result|has protocol)"):
        parse_result(json.dumps(fields).encode(), device="d")
