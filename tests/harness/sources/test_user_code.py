"""A user's Python file may have any name, and any neighbours: it replaces nobody's modules."""

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_LOAD = """
import sys
from pathlib import Path
from harness.sources.references import Reference, load_function
made = load_function(Reference("python", Path(sys.argv[1]), "make"))()
"""


def load_in_child(file: Path, then: str, **environment: str) -> str:
    """Load `make` of a file in a fresh process, and run code with what it `made`."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LOAD + textwrap.dedent(then), str(file)],
        capture_output=True,
        text=True,
        cwd=file.parent,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("numpy", "numpy.arange(3)"),
        ("json", "json.dumps([1])"),
        ("csv", "csv.reader([])"),
        ("targets", "targets.get_target('host-litert')"),
        ("farm", "farm.__path__"),
        ("pydantic", "pydantic.BaseModel"),
        ("PIL", "PIL.__version__"),
        ("wave", "wave.open"),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_a_file_named_as_a_module_does_not_replace_it(
    tmp_path: Path, name: str, use: str, beside: bool
) -> None:
    """Neither as the model itself, nor beside it."""
    text = "class Net: ...\ndef make(): return Net()\n"
    (tmp_path / f"{name}.py").write_text(text)
    model = tmp_path / ("own.py" if beside else f"{name}.py")
    model.write_text(text)
    load_in_child(model, f"import {name}\n{use}\nassert type(made).__name__ == 'Net'")


def test_a_neighbour_is_found_before_what_nothing_needs(tmp_path: Path) -> None:
    """Some distributions put a module ``examples`` or ``tests`` among the installed ones."""
    installed, mine = tmp_path / "site-packages", tmp_path / "mine"
    installed.mkdir()
    mine.mkdir()
    (installed / "beside_me.py").write_text("ANSWER = 'theirs'\n")
    (mine / "beside_me.py").write_text("ANSWER = 'mine'\n")
    (mine / "net.py").write_text("def make():\n    import beside_me\n    return beside_me.ANSWER\n")
    path = os.pathsep.join([str(Path.cwd()), str(installed)])
    assert load_in_child(mine / "net.py", "print(made)", PYTHONPATH=path) == "mine\n"


@pytest.mark.parametrize("name", ["json", "numpy", "own_net"])
def test_classes_of_the_file_can_be_pickled(tmp_path: Path, name: str) -> None:
    text = "from dataclasses import dataclass\n@dataclass\nclass Net:\n    x: int\n"
    (tmp_path / f"{name}.py").write_text(text + "def make(): return Net(3)\n")
    then = """
        import pickle, multiprocessing
        assert pickle.loads(pickle.dumps(made)) == made
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.map(repr, [made]) == [repr(made)]
            assert pool.map(type(made), [4])[0].x == 4
    """
    load_in_child(tmp_path / f"{name}.py", then)


def test_a_file_with_a_name_of_its_own_is_known_to_fresh_processes(tmp_path: Path) -> None:
    (tmp_path / "own_net.py").write_text(
        "class Net:\n    x = 3\ndef make(): return Net()\nif __name__ == '__mp_main__': 1/0\n"
    )
    then = """
        import multiprocessing
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.map(type(made).__getstate__, [made]) == [None]
    """
    load_in_child(tmp_path / "own_net.py", then)


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    from harness.sources.user_code import import_file

    made = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        file = tmp_path / str(number) / "twice_the_name.py"
        file.write_text(f"class Net:\n    x = {number}\n")
        made.append(import_file(file).Net())
    assert [type(pickle.loads(pickle.dumps(one))).x for one in made] == [0, 1, 2]  # noqa: S301


@pytest.mark.parametrize("planted", ["sitecustomize", "usercustomize", "encodings", "harness"])
def test_nothing_of_the_current_folder_runs_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    from harness.host.isolate import run_isolated

    mark = tmp_path / "ran"
    (tmp_path / f"{planted}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    assert run_isolated(_nothing, what="nothing", timeout_s=60) == 1
    assert not mark.exists()


def _nothing(_progress: object) -> int:
    return 1
