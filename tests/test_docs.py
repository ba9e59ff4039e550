"""README and docs are true: every command and marker is in them; what they show can be typed."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from harness import pytest_plugin
from harness.cli.app import build_app
from harness.cli.commands import COMMANDS as PANELS
from harness.pytest_plugin.session import SIGNATURE
from tests.harness.cli.command import command

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = README + "".join(
    (ROOT / f"docs/{name}.md").read_text() for name in ("cli", "devices", "farm")
)
PLUGIN = (ROOT / "docs/pytest.md").read_text()
DOCS = PAGES + (ROOT / "CONTRIBUTING.md").read_text()
PLACEHOLDER = re.compile(r"\b[A-Z]{1,}[A-Z_]*\b|192\.0\.2\.|lab-pi5|pixel|net\.py|\ba\.npz")
"""What stands for the reader's own: FILE, NAME, the address range for documentation."""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = getattr(group, "commands", {})
    if not children:
        yield path
    for name in children:
        yield from commands(group.get_command(CONTEXT, name), (*path, name))


CONTEXT = typer.Context(typer.main.get_command(build_app()))
TREE = typer.main.get_command(build_app())
COMMANDS = sorted(commands(TREE))


def plain_blocks(text: str) -> str:
    """What stands between fences without a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return "\n".join(block for language, block in fenced if not language)


BLOCKS = plain_blocks(PAGES)
SHOWN = [line for line in BLOCKS.splitlines() if line.startswith("edgefarm ")]
IN_TABLES = re.findall(r"`(edgefarm [^`]+)`", PAGES)
SERVICES = plain_blocks((ROOT / "docs/farm.md").read_text())  # do not end by themselves
RUNNABLE = [
    line
    for line in BLOCKS.removesuffix(SERVICES).splitlines()
    if line.startswith("edgefarm ") and not PLACEHOLDER.search(line)
]


@pytest.mark.parametrize(
    ("panel", "name", "summary"),
    [
        (panel, name, summary)
        for panel, modules in PANELS.items()
        for summaries in modules.values()
        for name, summary in summaries.items()
    ],
)
def test_the_help_says_what_the_command_says_itself(panel: str, name: str, summary: str) -> None:
    found: Any = TREE.get_command(CONTEXT, name)  # type: ignore[attr-defined]  # it is a group
    assert (found.help or "").split("\n\n")[0].replace("\n", " ") == summary
    assert found.rich_help_panel == panel


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_documented(path: tuple[str, ...]) -> None:
    assert re.search(rf"edgefarm {' '.join(path)}\b", PAGES)


@pytest.mark.parametrize("line", SHOWN + IN_TABLES)
def test_a_documented_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.replace("[", " ").replace("]", " "))[1:]
    found: Any = TREE
    while words and words[0] in getattr(found, "commands", {}):
        found = found.get_command(CONTEXT, words.pop(0))
    assert found is not TREE
    assert not hasattr(found, "commands") or not words
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_marker_is_documented() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for marker in settings["tool"]["pytest"]["ini_options"]["markers"]:
        assert f"`{marker.split(':')[0]}`" in DOCS


def test_the_pytest_plugin_is_documented() -> None:
    source = Path(pytest_plugin.__file__).read_text()
    options = re.findall(r'"(--device\S*|--require\S*)"', source)
    fixtures = re.findall(r"@pytest.fixture.*\ndef ([a-z]\w*)\(", source)
    assert len(options) >= 5
    assert len(fixtures) >= 8
    assert [name for name in (*options, *fixtures) if name not in PLUGIN] == []
    assert f"`{SIGNATURE}`" in PLUGIN


def test_every_make_target_is_documented() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert f"make {target}" in DOCS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_documented_commands_run(
    board_home: Path,
    adb_server: None,  # noqa: ARG001
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(RUNNABLE) >= 6
    monkeypatch.setenv("EDGEFARM_HOME", str(board_home))
    monkeypatch.chdir(tmp_path)
    edgefarm = command(capsys, monkeypatch)
    for board in ("a76", "p8"):  # of a run that was killed
        edgefarm("board", "destroy", board)
    for line in RUNNABLE:
        ended = edgefarm(*shlex.split(line)[1:])
        assert ended.code == 0, f"{line}\n{ended.out}\n{ended.err}"


def test_the_paths_of_the_map_exist() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"`((?:harness|targets|farm|reports|tests)/[\w./]*)`", page)
    assert len(named) > 40
    assert [name for name in named if not (ROOT / name).exists()] == []
