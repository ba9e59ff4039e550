"""The real compiler and the vendor's real emulator: small models, on every chip."""

from pathlib import Path

import numpy as np
import pytest

from farm.transports import connect
from harness.artifact import load_artifact
from harness.device import NO_DEVICE
from harness.emulated import Emulators
from harness.errors import ModelError, UsageError
from harness.evaluate import evaluate
from harness.host.cache import Cache
from harness.host.progress import no_progress
from harness.prepare import compiler_for
from harness.quantize.lower import lower
from harness.quantize.placing import check
from harness.records import Outcome, dump_run, parse_run
from harness.request import Request
from harness.sources.models import open_model
from reports import words
from targets import get_target
from targets.hexagon.socs import SOCS, relatives
from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.models import Model, conv

HEXAGON = get_target("hexagon-litert")


def emulators(folder: Path, content: bytes, inputs: np.ndarray) -> Emulators:
    (folder / "model.tflite").write_bytes(content)
    cache = Cache(folder / "cache")
    opened = open_model(str(folder / "model.tflite"))
    lowered = lower(HEXAGON, opened, None, (inputs,), cache=cache)
    return Emulators(HEXAGON, lowered, (inputs,), compiler_for(HEXAGON, cache, no_progress))


def samples(made: Model, count: int) -> np.ndarray:
    return np.concatenate([made.sample(seed)[0] for seed in range(count)])


@pytest.mark.usefixtures("qualcomm")
def test_a_run_without_a_device_says_what_it_is(tmp_path: Path) -> None:
    made = conv(shape=(1, 12, 12, 8), channels=16)
    (tmp_path / "model.tflite").write_bytes(made.data)
    np.savez(tmp_path / "data.npz", in0=samples(made, 6))
    files = str(tmp_path / "model.tflite"), str(tmp_path / "data.npz")
    request = Request(*files, HEXAGON, None, NO_DEVICE, soc="SM8650")
    done = evaluate(request, connect, cache=Cache(tmp_path / "cache"))
    assert done.outcome is Outcome.PASS, done.reasons
    assert done.emulated_by == "htp@SM8650 (the vendor's emulator)"
    assert done.latency is None
    assert done.placement is not None
    assert {one.where for one in done.placement.placement} == {"hexagon"}
    assert done.manifest is not None
    assert done.manifest.soc == "SM8650"
    assert done.manifest.tool_versions["architecture"].startswith("v75 asked for")
    assert done.manifest.tool_versions["QAIRT build"].startswith("v2.")
    assert any("identical bits" in note for note in done.notes)
    reference, other = done.distances
    assert (reference.profile, other.profile) == ("litert-ref", "htp@SM8350")
    assert all(one.differing is not None for d in done.distances for one in d.outputs)
    for distance in done.distances:
        assert distance.first_op is not None
        assert distance.first_op.op == "CONV_2D"
        assert distance.first_op.max_lsb == 1
        assert 0 < (distance.first_op.differing or 0) < distance.first_op.elements * 0.1
    assert "of the first op that differs, node 0 (CONV_2D)" in words.distance(other)
    assert "requantizes by rules of its own" in reference.why
    assert parse_run(dump_run(done)) == done


@pytest.mark.usefixtures("qualcomm")
def test_a_part_of_several_inputs_and_outputs_keeps_the_models_order(tmp_path: Path) -> None:
    """The compiler lists them in an order of its own; which shapes they have tells them apart."""
    builder, quant = Builder(), per_tensor(0.05)
    wide, narrow = (builder.tensor((1, n), "int8", quant) for n in (16, 8))
    sums = {n: builder.tensor((1, n), "int8", per_tensor(0.1)) for n in (8, 16)}
    for size, given in ((16, wide), (8, narrow)):
        builder.op("ADD", [given, given], [sums[size]], options("Add"), version=2)
    content = builder.finish([wide, narrow], [sums[8], sums[16]])
    (tmp_path / "model.tflite").write_bytes(content)
    rng = np.random.default_rng(0)
    inputs = tuple(rng.integers(-128, 128, (3, n), np.int8) for n in (16, 8))
    cache = Cache(tmp_path / "cache")
    opened = open_model(str(tmp_path / "model.tflite"))
    lowered = lower(HEXAGON, opened, None, inputs, cache=cache)
    first, second = (
        Emulators(HEXAGON, lowered, inputs, compiler_for(HEXAGON, cache, no_progress))
        .vendors("htp@SM8650")
        .outputs
    )
    assert np.abs(first.astype(int) - inputs[1]).max() <= 1
    assert np.abs(second.astype(int) - inputs[0]).max() <= 1


@pytest.mark.slow
@pytest.mark.usefixtures("qualcomm")
def test_every_chip_compiles_and_the_groups_agree(tmp_path: Path) -> None:
    made = conv(shape=(1, 12, 12, 8), channels=16)
    both = emulators(tmp_path, made.data, samples(made, 2))
    outputs = {soc: both.vendors(f"htp@{soc}").outputs[0] for soc in SOCS}
    for soc, known in SOCS.items():
        first = "SM8650" if known.arch >= 73 else "SM8350"
        assert np.array_equal(outputs[soc], outputs[first]), soc


@pytest.mark.usefixtures("qualcomm")
def test_a_context_for_another_chip_is_refused(tmp_path: Path) -> None:
    made = conv()
    both = emulators(tmp_path, made.data, samples(made, 1))
    compiled = both.compiler(both.lowered, "SM8550")
    assert load_artifact(compiled.path).manifest.soc == "SM8550"
    (tmp_path / "again").mkdir()
    other = emulators(tmp_path / "again", compiled.path.read_bytes(), both.inputs[0])
    assert np.array_equal(
        other.vendors("htp@SM8550").outputs[0], both.vendors("htp@SM8550").outputs[0]
    )
    with pytest.raises(ModelError, match="compiled for SM8550, asked"):
        other.vendors("htp@SM8650")


@pytest.mark.usefixtures("qualcomm")
def test_bad_input(tmp_path: Path) -> None:
    made = conv()
    both = emulators(tmp_path, made.data, samples(made, 1))
    with pytest.raises(UsageError, match=r"needs a chip: --soc SM8350\|.*got SM1"):
        both.vendors("htp@SM1")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(made.data[: len(made.data) // 2])
    with pytest.raises(ModelError, match="not a usable TFLite model"):
        check(HEXAGON, broken, "SM8650")


def test_the_licence_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime_qnn")
    monkeypatch.setenv("EDGEFARM_HOME", str(tmp_path))
    monkeypatch.delenv("EDGEFARM_ACCEPT_QUALCOMM_LICENSE", raising=False)
    (tmp_path / "model.tflite").write_bytes(conv().data)
    with pytest.raises(UsageError, match="--accept-qualcomm-license"):
        check(HEXAGON, tmp_path / "model.tflite", "SM8650")


def test_every_chip_has_relatives_of_the_other_group() -> None:
    assert dict(relatives("SM8350")).keys() == {"litert-ref", "htp@SM8650"}
    assert dict(relatives("SM8750")).keys() == {"litert-ref", "htp@SM8350"}
