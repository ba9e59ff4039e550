"""nightly.toml: what it means, and where it is wrong."""

import os
from pathlib import Path

import pytest

from farm.nightly.plan import load_plan, plan_schema
from harness.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]

GOOD = """\
[nightly]
name = "main"
schedule = "0 2 * * *"

[[models]]
model = "zoo:digits-cnn"
recipes = ["float", "static_wi8_ai8"]

[[models]]
model = "net.py:model"
data = "data.npz"
recipes = ["weight_only_wi8_afp32"]
limits = "limits.toml"

[[devices]]
target = "host-litert"

[[devices]]
target = "host-executorch"
on = "tag=lab2, each"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("net.py", "data.npz"):
        (tmp_path / name).touch()
    (tmp_path / "limits.toml").write_text("[accuracy]\nmin_top1 = 0.5\n")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    (folder / "nightly.toml").write_text(text)
    return folder / "nightly.toml"


def test_a_plan_is_models_times_recipes_times_devices(folder: Path) -> None:
    asked, left_out = load_plan(written(folder, GOOD)).jobs("tonight")
    told = [(one.model, one.recipe and one.recipe.name, one.target, one.selector) for one in asked]
    net = f"{folder}/net.py:model"
    assert told == [
        ("zoo:digits-cnn", "float", "host-litert", ""),
        ("zoo:digits-cnn", "static_wi8_ai8", "host-litert", ""),
        ("zoo:digits-cnn", "float", "host-executorch", "tag=lab2, each"),
        ("zoo:digits-cnn", "static_wi8_ai8", "host-executorch", "tag=lab2, each"),
        (net, "weight_only_wi8_afp32", "host-litert", ""),
    ]
    assert left_out == [f"{net} weight_only_wi8_afp32: not for host-executorch"]
    assert {one.label for one in asked} == {"tonight"}
    assert asked[-1].limits.accuracy.min_top1 == 0.5
    assert asked[-1].data == f"{folder}/data.npz"
    assert {one.priority for one in asked} == {-10}


@pytest.mark.parametrize(
    ("right", "wrong", "line", "said"),
    [
        ('"0 2 * * *"', '"at two"', 3, "not a cron schedule"),
        ('name = "main"', 'name = "a b"', 2, "name"),
        ('name = "main"', 'name = "main"\ntimezone = "Mars"', 3, "not a time zone"),
        ('name = "main"', 'name = "main"\nmissed = "later"', 3, "catch-up"),
        ('"net.py:model"', '"nit.py:model"', 10, "no such file"),
        ('data = "data.npz"', "", 10, "data is missing"),
        ('["weight_only_wi8_afp32"]', '["wi8"]', 12, "no such recipe"),
        ('limits = "limits.toml"', 'limits = "net.py"', 13, "not TOML"),
        ('limits = "limits.toml"', "retries = 3", 13, "Extra inputs"),
        ('"host-executorch"', '"toaster"', 19, "no such target; one of"),
        ("tag=lab2, each", "lab2", 20, "'lab2' is not known"),
    ],
)
def test_a_mistake_is_shown_by_its_line(
    folder: Path, right: str, wrong: str, line: int, said: str
) -> None:
    path = written(folder, GOOD.replace(right, wrong))
    if said == "not TOML":
        (folder / "net.py").write_text("no limits")
    with pytest.raises(UsageError, match=said) as caught:
        load_plan(path)
    where = 9 if said == "data is missing" else line
    assert str(caught.value).startswith(f"{path}:{where}: "), caught.value


def test_other_mistakes(folder: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_plan(folder / "none.toml")
    os.mkfifo(folder / "pipe.toml")
    for odd, said in (("pipe.toml", "is a named pipe"), (".", "is a folder")):
        with pytest.raises(UsageError, match=f"cannot be read: {said}"):
            load_plan(folder / odd)
    with pytest.raises(UsageError, match="not TOML"):
        load_plan(written(folder, "[nightly"))
    with pytest.raises(UsageError, match="models"):
        load_plan(written(folder, '[nightly]\nname = "a"\n'))


def test_the_example_is_a_plan_and_the_schema_describes_it() -> None:
    plan = load_plan(ROOT / "examples" / "nightly.toml")
    assert len(plan.jobs("x")[0]) == 2
    schema = plan_schema()
    assert set(schema["properties"]) == {"nightly", "models", "devices", "notify"}
    assert set(schema["$defs"]["ModelEntry"]["required"]) == {"model"}
