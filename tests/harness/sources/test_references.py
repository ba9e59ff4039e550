"""MODEL and DATA references: what parses, and what is said about the rest."""

import os
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.sources.data import parse_data
from harness.sources.models import parse_model
from harness.sources.references import Reference, load_function, parse_reference


def test_references_become_absolute_and_parse_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.py", "net.pt2", "net.tflite"):
        Path(name).touch()
    for text, expected in {
        "net.py:make": Reference("python", tmp_path / "net.py", "make"),
        "net.pt2": Reference(".pt2", tmp_path / "net.pt2"),
        "./net.tflite": Reference(".tflite", tmp_path / "net.tflite"),
        "zoo:digits-cnn": Reference("zoo", None, "digits-cnn"),
    }.items():
        parsed = parse_model(text)
        assert parsed == expected
        assert parse_model(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent.tflite", "model 'absent.tflite': no such file"),
        ("absent.py:make", "model 'absent.py': no such file"),
        ("net.onnx", r"suffix '\.onnx' is not known; expected zoo:NAME, path/file\.py:function, "),
        ("net.py", r"name the function too, e\.g\. net\.py:model"),
        ("net.py:two words", "'two words' is not a function name"),
        ("net.py:", "'' is not a function name"),
        ("zoo:resnet", "no such zoo entry; one of: digits-cnn, efficientnet-lite0, minilm"),
        (".", "is a folder; expected"),
    ],
)
def test_what_does_not_parse_is_told_with_what_is_expected(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.onnx").touch()
    Path("net.py").touch()
    with pytest.raises(UsageError, match=message):
        parse_model(text)


def test_only_data_may_be_a_folder(tmp_path: Path) -> None:
    folder = parse_reference(str(tmp_path), what="data", suffixes=(".npz",), folder=True)
    assert folder == Reference("folder", tmp_path)
    (tmp_path / "data.csv").touch()
    with pytest.raises(UsageError, match=r"expected .*, a \.npz file or a folder of images"):
        parse_reference(str(tmp_path / "data.csv"), what="data", suffixes=(".npz",), folder=True)


def test_a_function_may_use_the_modules_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", ["kept"])
    (tmp_path / "beside_it.py").write_text("ANSWER = 42")
    (tmp_path / "own_model.py").write_text(
        "def make():\n import beside_it\n return beside_it.ANSWER"
    )
    assert load_function(Reference("python", tmp_path / "own_model.py", "make"))() == 42


def test_neighbours_do_not_stand_in_for_pythons_own_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "this", raising=False)
    (tmp_path / "this.py").write_text("raise SystemExit('planted')\n")
    (tmp_path / "shadowed_model.py").write_text("def make():\n    import this\n    return this.d\n")
    make = load_function(Reference("python", tmp_path / "shadowed_model.py", "make"))
    assert make()


def test_a_missing_function_is_told_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", ["kept"])
    (tmp_path / "functions.py").write_text(
        "from os import getcwd\nNOT_ONE = 1\ndef first(): ...\ndef second(): ..."
    )
    for name in ("third", "NOT_ONE"):
        with pytest.raises(UsageError, match=f"no function '{name}'; it has: first, second"):
            load_function(Reference("python", tmp_path / "functions.py", name))


def test_a_file_of_another_format_is_told_what_to_do(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    linear, x = torch.nn.Linear(3, 3).eval(), (torch.ones(1, 3),)
    torch.jit.trace(linear, x).save(tmp_path / "script.pt")
    torch.save(linear.state_dict(), tmp_path / "weights.pth")
    torch.export.save(torch.export.export(linear, x), tmp_path / "program.pt2")
    (tmp_path / "program.pt2").rename(tmp_path / "program.pt")
    (tmp_path / "file.lite").write_bytes(b"\x1c\0\0\0TFL3")
    for name in (
        "net.onnx",
        "net.keras",
        "net.h5",
        "net.safetensors",
        "net.ckpt",
        "saved_model.pb",
    ):
        (tmp_path / name).touch()
    for name, message in {
        "script.pt": r"TorchScript, .* net\.py:model; or .* \.pt2",
        "weights.pth": r"weights.*net\.py:model: .*torch\.load\('weights\.pth', weights_only=True",
        "program.pt": r"it is a \.pt2 file, rename it",
        "file.lite": r"it is a \.tflite file, rename it",
        "net.onnx": r"ONNX is not read\. .* onnx2tf",
        "net.keras": r"from_keras_model\(tf\.keras\.models\.load_model\('net\.keras'\)",
        "net.h5": "from_keras_model",
        "net.ckpt": "load_state_dict",
        "net.safetensors": r"safetensors\.torch\.load_file\('net\.safetensors'\)",
        "saved_model.pb": "from_saved_model",
        "": r"is a folder; expected .*from_saved_model",
    }.items():
        with pytest.raises(UsageError, match=message):
            parse_model(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.npy", r"np\.savez\('data\.npz', in0=np\.load\('x\.npy'\)\)"),
        ("x.jpeg", "name the folder that it is in"),
        ("x.tfrecord", "yields batches"),
        ("x.pt", r"yield torch\.load\('x\.pt'\)"),
    ],
)
def test_data_of_another_format_are_told_what_to_do(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match=message):
        parse_data(str(tmp_path / name))


def test_names_that_are_not_utf8_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    wild.mkdir()
    for text in (f"{wild}/net.py:model", str(wild)):
        with pytest.raises(UsageError, match=r"caf.*udce9.*: not UTF-8; rename it"):
            parse_data(text)
    (wild / "net.tflite").touch()
    monkeypatch.chdir(wild)
    with pytest.raises(UsageError, match="not UTF-8"):
        parse_model("net.tflite")
