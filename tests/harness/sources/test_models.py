"""Opening models, in isolation: what they are, and what is said about broken ones."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ModelError, UsageError
from harness.model import ModelInput, ModelOutput
from harness.sources.flat import flatten
from harness.sources.models import load_module, load_original, open_model, parse_model

SOURCE = """
import collections
import dataclasses

import torch

class Net(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = torch.nn.Linear(4, 2)
        self.register_buffer("offset", torch.arange(2.0))
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, x, index):
        return self.dropout(self.linear(x) + self.offset)[:, index[0]]

def make(seed=0):
    return Net(seed), (torch.zeros(3, 4), torch.zeros(1, dtype=torch.int64))

def other(): return make(1)
def save(path): torch.export.save(torch.export.export(make()[0].eval(), make()[1]), path)
def nothing(): return None
def bare(): return make()[0]
def not_a_module(): return make, (torch.zeros(1),)
def not_tensors(): return make()[0], (1, 2)
def an_object(): return make()[0], {"x": object(), "index": torch.zeros(1)}
def no_examples(): return make()[0], ()
def raises(): raise RuntimeError("weights.bin is missing")
def unexportable():
    class Dynamic(torch.nn.Module):
        def forward(self, x): return x if x.sum() > 0 else -x
    return Dynamic(), (torch.zeros(1, 2),)

Pair = collections.namedtuple("Pair", "left right")

@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: tuple
    loss: object = None

class Any(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.linear = torch.nn.Linear(4, 5)
        self.function = function

    def forward(self, x, **more):
        return self.function(self.linear(x), **more)

def nested(): return Any(lambda y: (y, (y[:, :1], [y[:, :2]]))), (torch.zeros(1, 4),)
def mapping(): return Any(lambda y: {"logits": y, "aux": (y * 2, y > 0)}), (torch.zeros(1, 4),)
def fields(): return Any(lambda y: Pair(y, torch.topk(y, 3))), (torch.zeros(1, 4),)
def dataclass(): return Any(lambda y: Output(y, (y + 1, 7))), (torch.zeros(1, 4),)
def no_tensor(): return Any(lambda y: {"count": 3}), (torch.zeros(1, 4),)
def lstm(): return torch.nn.LSTM(4, 6, num_layers=2), (torch.zeros(5, 1, 4),)

def keywords():
    x, pair = torch.zeros(1, 4), {"scale": torch.ones(5), "by": torch.tensor(2.0), "on": True}
    return Any(lambda y, pair: y * pair["scale"] + pair["by"]), {"x": x, "pair": pair}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "net.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))


def test_a_model_is_described_and_named_by_its_content(source: Path, tmp_path: Path) -> None:
    model = open_model(f"{source}:make")
    assert model.inputs == (ModelInput((3, 4), "float32"), ModelInput((1,), "int64", batched=False))
    assert model.outputs == (ModelOutput("0", (3,), "float32"),)
    assert not model.quantized
    assert open_model(f"{source}:other").sha256 != model.sha256

    path = tmp_path / "net.pt2"
    saving = f"import net; net.save({str(path)!r})"
    subprocess.run(
        [sys.executable, "-c", saving], check=True, capture_output=True, cwd=source.parent
    )
    assert open_model(str(path)).inputs == model.inputs
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"net\.pt2: not a readable torch\.export program: \w+"):
        open_model(str(path))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "got NoneType"),
        ("bare", "got Net"),
        ("not_a_module", "the first of the pair is function"),
        ("not_tensors", "example 0 is int"),
        ("an_object", "example x is object, not a tensor; also taken: tuples, lists and dicts"),
        ("no_examples", "the second of the pair is tuple of 0"),
    ],
)
def test_a_function_that_returns_the_wrong_thing_is_told_what_to_return(
    source: Path, function: str, message: str
) -> None:
    wanted = r"must return \(torch\.nn\.Module, tuple of example tensors\)"
    with pytest.raises(UsageError, match=rf"net\.py:{function}: {wanted}.*{message}"):
        load_module(parse_model(f"{source}:{function}"))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("nested", {"0": (1, 5), "1.0": (1, 1), "1.1.0": (1, 2)}),
        ("mapping", {"logits": (1, 5), "aux.0": (1, 5), "aux.1": (1, 5)}),
        ("fields", {"left": (1, 5), "right.values": (1, 3), "right.indices": (1, 3)}),
        ("dataclass", {"logits": (1, 5), "hidden.0": (1, 5)}),
        ("lstm", {"0": (5, 1, 6), "1.0": (2, 1, 6), "1.1": (2, 1, 6)}),
        ("keywords", {"0": (1, 5)}),
    ],
)
def test_outputs_of_any_structure_are_tensors_with_names(
    source: Path, function: str, expected: dict[str, tuple[int, ...]]
) -> None:
    module, args, kwargs = load_original(parse_model(f"{source}:{function}"))
    found = flatten(module(*args, **kwargs)).tensors
    assert {name: tuple(x.shape) for name, x in found.items()} == expected
    module, examples = load_module(parse_model(f"{source}:{function}"))
    assert [tuple(x.shape) for x in module(*examples)] == list(expected.values())


def test_a_model_of_nested_outputs_is_described(source: Path) -> None:
    model = open_model(f"{source}:dataclass")
    assert model.outputs == (
        ModelOutput("logits", (1, 5), "float32"),
        ModelOutput("hidden.0", (1, 5), "float32"),
    )
    assert model.notes == (
        "outputs that are no tensors are left out: hidden.1 (int), loss (NoneType)",
    )
    model = open_model(f"{source}:keywords")
    assert [x.name for x in model.inputs] == ["x", "pair.scale", "pair.by"]


def test_a_model_without_a_tensor_in_its_outputs_says_what_it_returns(source: Path) -> None:
    with pytest.raises(ModelError, match=r"returns no tensor, got count \(int\)"):
        open_model(f"{source}:no_tensor")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", r"RuntimeError: weights\.bin is missing, at .*net\.py:\d+ in raises"),
        ("unexportable", r"net\.py:\d+ in forward: an if, a loop .* do: choose with torch\.where"),
    ],
)
def test_a_model_that_fails_is_named_with_the_reason(
    source: Path, function: str, message: str
) -> None:
    with pytest.raises(ModelError, match=rf"net\.py:{function}: .*{message}.*") as error:
        open_model(f"{source}:{function}")
    assert Path(error.value.log).read_text()
    assert error.value.log in str(error.value)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.tflite", b""),
        ("zeros.tflite", bytes(64)),
        ("header.tflite", b"\x1c\x00\x00\x00TFL3" + b"\xff" * 200),
        ("empty.pt2", b""),
        ("random.pt2", np.random.default_rng(0).bytes(500)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_junk_is_named_as_such(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        open_model(str(tmp_path / name))


def test_a_damaged_tflite_never_takes_the_caller_along(tmp_path: Path) -> None:
    """Cut and overwritten at many places: opens or is a ModelError, whatever the runtime does."""
    whole = tiny_tflite()
    path = tmp_path / "damaged.tflite"
    rng = np.random.default_rng(0)
    for attempt in range(10):
        content = bytearray(whole)
        if attempt % 2:
            del content[rng.integers(8, len(content)) :]
        else:
            at = int(rng.integers(8, len(content) - 8))
            content[at : at + 8] = rng.bytes(8)
        path.write_bytes(content)
        try:
            open_model(str(path))
        except ModelError as error:
            assert "damaged.tflite" in str(error)  # noqa: PT017  either way is right
    path.write_bytes(whole)
    model = open_model(str(path))
    assert model.inputs == (ModelInput((1, 8), "float32"),)
    assert [(x.shape, x.dtype) for x in model.outputs] == [((1, 8), "float32")]


def tiny_tflite() -> bytes:
    """One ADD of a float tensor to itself."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, op, code = (
        schema.ModelT(),
        schema.SubGraphT(),
        schema.OperatorT(),
        schema.OperatorCodeT(),
    )
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    tensors = []
    for name in ("x", "y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, [1, 8], 0
        tensor.type = schema.TensorType.FLOAT32
        tensors.append(tensor)
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 0], [1]
    op.builtinOptionsType = schema.BuiltinOptions.AddOptions
    op.builtinOptions = schema.AddOptionsT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [1], [op]
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
