"""report.html: complete, well formed, and harmless whatever a model or device is called."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.on_device.latency import latency_from
from harness.protocol import Result
from harness.records import Exactness, QuantizationCost, Run, TensorCost
from reports import plots
from reports.html import render, write_report

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects elements, attributes and text; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_everything_of_the_runs_is_there(passing: Run, failing: Run, broken: Run) -> None:
    page = Page(render([passing, failing, broken]))
    assert page.tags.count("section") == 3
    assert failing.exactness is not None
    assert passing.manifest is not None
    for words in (
        "3 runs",
        "✓ 1 PASS",
        "✗ 1 FAIL",
        "! 1 ERROR",
        "0 of 12,800 differ",
        "712 of 12,800",
        "CONV_2D (node 12, “efficientnet/block4/conv_2d_12”) is the first that differs",
        "from the accumulator -18,432",
        *failing.reasons,
        "12,770 elements are equal and not drawn",
        "24.1 dB",
        "64.4 to 81.7",
        "virtual board: emulated time, not a device's",
        "throttled: cpu rose from 41 to 71 °C",
        "250 in 5 restarts",
        "0.20 → 1.00",
        "41.0 (cpu) → 71.0 (cpu)",
        passing.manifest.sha256,
        "litert-torch 0.10.0",
        "ai_edge_litert 2.3.0",
        "SHA256:Xk3b",
        "the runner ended by signal 9",
        "stderr: Killed",
        *passing.notes,
    ):
        assert words in page.text, words


def test_the_page_needs_no_network_and_runs_nothing(passing: Run, failing: Run) -> None:
    text = render([passing, failing])
    page = Page(text)
    assert "default-src 'none'" in text
    assert not {"script", "link", "img", "iframe", "object", "foreignobject"} & set(page.tags)
    assert all(
        value.startswith("#") for name, value in page.attributes if name in ("href", "xlink:href")
    )
    assert not [name for name, _ in page.attributes if name == "src" or name.startswith("on")]
    assert not re.search(r"url\((?!#)|@import", text)


def test_what_a_model_or_device_says_stays_text(hostile: Run) -> None:
    page = Page(render([hostile]))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>[red]\\x1b[31m\\u202e{{7*7}}" in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


def test_names_in_drawings_stay_text(failing: Run) -> None:
    assert failing.latency is not None
    assert failing.exactness is not None
    assert failing.exactness.first_divergence is not None
    costs = [TensorCost("</svg><script>", db, 1.0) for db in (1.0, 2.0, 3.0)]
    for svg in (
        plots.sqnr(costs),
        plots.latency(failing.latency),
        plots.lsb_histogram(failing.exactness.first_divergence),
        plots.growth(failing.exactness.intermediates),
    ):
        assert svg.startswith("<svg")
        assert "script" not in Page(svg).tags


def test_the_histogram_draws_every_count(failing: Run) -> None:
    assert failing.exactness is not None
    first = failing.exactness.first_divergence
    assert first is not None
    drawn = Page(plots.lsb_histogram(replace(first, histogram=((-17, 31), (0, 900), (2, 77))))).text
    for words in (">+16", "<-16", "31", "77"):
        assert words in drawn.split()
    assert "900" not in drawn


def test_one_straggler_does_not_flatten_the_drawing(passing: Run) -> None:
    samples = (*range(5_000_000, 5_100_000, 500), 400_000_000)
    slow = latency_from([Result(latency_ns=samples)], passing.device)
    assert slow is not None
    drawn = Page(plots.latency(slow)).text
    assert "5.1" in drawn.split()
    assert "400" not in drawn


@pytest.mark.parametrize(
    "change",
    [
        {"exactness": None, "cost": None, "accuracy": None, "latency": None, "host_latency": None},
        {"exactness": Exactness(None, "unknown", reason="no profile stands for this device")},
        {"cost": QuantizationCost("float", (TensorCost("a", float("inf"), 1.0),) * 5)},
        {"results": (), "manifest": None, "emulator_ns": None, "tool_versions": {}},
        {"results": (Result(),)},
        {"recipe": "", "samples": 0},
    ],
)
def test_runs_that_lack_parts_are_shown(passing: Run, change: dict[str, object]) -> None:
    page = Page(render([replace(passing, **change)]))  # type: ignore[arg-type]  any field
    assert page.tags.count("section") == 1
    assert "None" not in page.words


def test_no_runs_are_a_page_too() -> None:
    assert "0 runs" in Page(render([])).text


def test_the_file_is_written_whole(tmp_path: Path, broken: Run) -> None:
    path = write_report([broken], tmp_path / "out" / "report.html")
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_report([broken], tmp_path / "file" / "report.html")


def test_without_what_draws_the_page_says_so(failing: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = render([failing])
    assert "<svg" in drawn
    assert "Drawings are left out" not in drawn
    monkeypatch.setattr("reports.plots.find_spec", lambda _: None)
    plain = render([failing])
    assert "<svg" not in plain
    assert "edgefarm[plots]" in plain
