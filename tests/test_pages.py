"""The pages on data and limits are true: what they list is what the code takes."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

from harness.judge.limits import Limits, load_limits
from harness.sources.data import from_arrays

DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks(page: str, language: str = "") -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE
    )


def test_every_limit_is_documented_and_what_is_documented_is_taken(tmp_path: Path) -> None:
    (shown,) = blocks("limits.md", "toml")
    file = tmp_path / "limits.toml"
    file.write_text(shown)
    assert load_limits(file) != Limits()
    known = {
        (table, key)
        for table, field in Limits.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    }
    assert {(table, key) for table, keys in tomllib.loads(shown).items() for key in keys} == known


def test_the_snippets_on_data_run(tmp_path: Path) -> None:
    scripts = {text.splitlines()[0][2:]: text for text in blocks("data.md") if text.startswith("#")}
    assert set(scripts) == {"make_data.py", "data.py"}
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
    subprocess.run([sys.executable, "make_data.py"], cwd=tmp_path, check=True, timeout=60)
    made = from_arrays(dict(np.load(tmp_path / "data.npz")), "data.npz")
    assert made.labels is not None
    assert len(made.labels) == 200
    namespace: dict[str, object] = {}
    exec((tmp_path / "data.py").read_text(), namespace)  # noqa: S102  our own page
    batches = list(namespace["batches"]())  # type: ignore[operator]  # a function of that page
    assert [set(batch) for batch in batches] == [{"in0", "labels", "groups"}] * 10
