"""The public Python API: what docs/python.md shows runs as it stands, and gives what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.errors import UsageError
from harness.records import Outcome
from reports.frame import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs/python.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown: dict[str, object] = {}
    first, artifact, table = SNIPPETS
    exec(first, shown)  # noqa: S102  our own page
    run = shown["run"]
    for said in re.findall(r"print\(.*\) +# (.*)", first):
        assert said in capsys.readouterr().out or said in str(vars(run))
    assert run.outcome is Outcome.PASS  # type: ignore[attr-defined]  # a Run
    assert run.model == "Sequential (in memory)"  # type: ignore[attr-defined]
    assert "<iframe" in run._repr_html_()  # type: ignore[attr-defined]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    exec(artifact, shown)  # noqa: S102
    assert (tmp_path / "made" / "model.tflite").is_file()

    from reports.store import save_run

    save_run(run, tmp_path / "edgefarm-out")  # type: ignore[arg-type]
    exec(table, shown)  # noqa: S102
    assert shown["frame"]["model"].tolist() == ["Sequential (in memory)"]  # type: ignore[index]


def test_the_columns_are_the_tables() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert listed == COLUMNS


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        ("zoo:nothing", None, "no such zoo entry"),
        ("net.pt2", None, "data is missing"),
        (42, np.ones((3, 2)), "expected a reference"),
    ],
)
def test_mistakes_are_told(model: object, data: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        harness.run(model, data, recipe="float")  # type: ignore[operator]  # from the API


def test_a_module_wants_arrays() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="its data as arrays"):
        harness.run(torch.nn.Linear(2, 2), "data.npz", recipe="float")  # type: ignore[operator]


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        harness.walk  # noqa: B018  the attribute is the test
