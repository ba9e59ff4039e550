"""The shape of the tree: who may import whom, and what stays out of the base install."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "targets", "farm", "reports")
MAY_IMPORT = {
    "harness": set(),
    "targets": {"harness"},
    "farm": {"harness", "targets"},
    "reports": {"harness"},
}
COMPOSITION_ROOTS = ("harness/cli", "harness/pytest_plugin", "harness/api")
# fmt: off
ROOMS = [
    "errors", "arithmetic", "host", "facts", "device", "placement", "artifact", "protocol", "model",
    "recipe", "records", "target", "emulator", "sources", "on_device", "quantize",
    "judge", "verify", "request", "preflight", "prepare", "emulated", "recording",
    "evaluate", "streaming", "tune",
]
# fmt: on
"""Of harness, from the ground up: each imports only those before it."""
FLOOR_PLAN = 30
HEAVY = {
    "torch",
    "litert_torch",
    "litert_quantizer",
    "executorch",
    "torchao",
    "onnxruntime",
    "foolbox",
    "sklearn",
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def below_type_checking(path: Path) -> ast.Module:
    """A module without what only a type checker sees."""
    tree = ast.parse(path.read_text())
    kept = [
        x for x in tree.body if not (isinstance(x, ast.If) and "TYPE_CHECKING" in ast.dump(x.test))
    ]
    return ast.Module(body=kept, type_ignores=[])


def is_composition_root(path: Path) -> bool:
    return str(path.relative_to(ROOT)).startswith(COMPOSITION_ROOTS)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_the_design_allows(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        if not is_composition_root(path)
        for name in imported(ast.parse(path.read_text()))
        if name.split(".")[0] in set(PACKAGES) - MAY_IMPORT[package] - {package}
    ]
    assert not wrong


def test_nobody_imports_a_composition_root() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in modules(package)
        if not is_composition_root(path)
        for name in imported(ast.parse(path.read_text()))
        if name.startswith(("harness.cli", "harness.pytest_plugin", "harness.api"))
    ]
    assert not wrong


def room(name: str) -> str:
    return name.split(".")[1] if name.startswith("harness.") else ""


def test_rooms_of_harness_import_only_from_below() -> None:
    wrong = []
    for path in modules("harness"):
        at = path.relative_to(ROOT / "harness").parts[0].removesuffix(".py")
        if is_composition_root(path) or at == "__init__":
            continue
        names = imported(below_type_checking(path))
        used = {(room(name), name) for name in names if name.startswith("harness.")}
        wrong += [
            f"{path.relative_to(ROOT)} imports {name}"
            for there, name in used
            if ROOMS.index(there) > ROOMS.index(at)
        ]
    assert not wrong


PREPARING = {"open_model", "load_data", "split", "lower", "compile_for"}


def test_there_is_one_preparation() -> None:
    """Who else opened, split or lowered would do it in another way some day."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.id}"
        for package in PACKAGES
        for path in modules(package)
        if path != ROOT / "harness/prepare.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in PREPARING
    ]
    assert not wrong


def test_the_floor_plan_of_harness_can_be_taken_in_at_once() -> None:
    found = [x for x in (ROOT / "harness").iterdir() if x.name != "__pycache__"]
    assert len(found) <= FLOOR_PLAN
    known = {*ROOMS, "__init__", *(Path(root).name for root in COMPOSITION_ROOTS)}
    assert {x.stem for x in found} <= known


def test_arithmetic_needs_only_numpy() -> None:
    allowed = sys.stdlib_module_names | {"numpy"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules("harness/arithmetic")
        for name in imported(ast.parse(path.read_text()))
        if name.split(".")[0] not in allowed and not name.startswith("harness.arithmetic")
    ]
    assert not wrong


def test_heavy_libraries_are_imported_inside_functions() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in PACKAGES
        for path in modules(package)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(ast.Module(body=[node], type_ignores=[]))
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong


LARGE = {"pyarrow", "scipy", "altair", "vl-convert-python", "torch", "scikit-learn", "fastapi"}


def test_the_base_install_stays_small() -> None:
    """What a lab host or a CI client downloads; the rest are extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[\[<>=~! ]", line, maxsplit=1)[0] for line in project["dependencies"]}
    assert not named & LARGE


HEAVY_MODULES = (
    "pandas sqlalchemy dbos paramiko adbutils requests scipy altair jinja2 ai_edge_litert "
    "harness.evaluate harness.emulator.interpreter numpy"
)
OF_A_RUN = {"harness.evaluate", "harness.emulator.interpreter", "jinja2", "ai_edge_litert", "numpy"}
STARTS = f"""
import sys
sys.argv = ["edgefarm", *sys.argv[1:]]
try:
    from harness.cli import main
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*set({HEAVY_MODULES.split()}).intersection(sys.modules))
"""


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("version", set()),
        ("--help", set()),
        ("recipes", set()),
        ("targets", set()),
        ("board --help", {"adbutils", "requests", "numpy"}),
        (
            "run --help",
            OF_A_RUN,
        ),
    ],
)
def test_commands_import_only_what_they_use(command: str, allowed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTS, *command.split()],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert set(done.stdout.splitlines()[-1].split()) <= allowed
