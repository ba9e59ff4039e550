"""The straight way on this host: exact when it is right, and where it is wrong when it is not."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farm.transports import connect
from harness.arithmetic.profile import ArithmeticProfile
from harness.artifact import (
    Artifact,
    Manifest,
    Quantization,
    TensorSpec,
    save_manifest,
    sha256_file,
)
from harness.device import Device
from harness.emulator import profiles
from harness.errors import ModelError, UsageError
from harness.evaluate import evaluate
from harness.host.cache import Cache
from harness.judge import exactness
from harness.judge.limits import AccuracyLimits, DefaultLimits, ExactnessLimits, Limits
from harness.on_device.deploy import MeasurePlan
from harness.recipe import RECIPES
from harness.records import Outcome, Run, dump_run, parse_run
from harness.request import Request
from harness.sources.data import load_data
from harness.sources.models import open_model
from targets import get_target
from tests.oracle.control import open_shapes
from tests.oracle.models import Model, conv
from tests.oracle.networks import RESIDUAL_TENSORS, residual, saturating

BRIEF = MeasurePlan(restarts=2, warmup_runs=1, timed_runs=3, min_time_s=0.0)


def this_host(tmp_path: Path, name: str = "here") -> Device:
    workdir = str(tmp_path / "work")
    return Device(name, "local", ("host-litert",), workdir=workdir, python=sys.executable)


def run(tmp_path: Path, content: bytes, data: Path, **changes: object) -> Run:
    file = tmp_path / "model.tflite"
    file.write_bytes(content)
    request = Request(
        model=str(file),
        data=str(data),
        target=get_target("host-litert"),
        recipe=None,
        device=this_host(tmp_path),
        measure=BRIEF,
    )
    changed = replace(request, **changes)  # type: ignore[arg-type]  # fields of Request
    return evaluate(changed, connect, cache=Cache(tmp_path / "cache"))


def saved(tmp_path: Path, **arrays: np.ndarray) -> Path:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]  # any arrays
    return tmp_path / "data.npz"


def samples(made: Model, count: int) -> np.ndarray:
    return np.concatenate([made.sample(seed)[0] for seed in range(count)])


def test_a_quantized_file_is_exact_on_every_tensor(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (5, 5, 5, 4), np.int8)
    done = run(tmp_path, residual(), saved(tmp_path, in0=x), kernels="reference")
    assert done.outcome is Outcome.PASS, done.reasons
    assert done.exactness is not None
    assert done.exactness.verdict == "exact"
    assert done.exactness.profile == "litert-ref"
    compared = (*done.exactness.outputs, *done.exactness.intermediates)
    assert {one.tensor for one in compared} == set(RESIDUAL_TENSORS.values())
    assert all(one.differing == 0 for one in compared)
    assert done.exactness.outputs[0].elements == done.samples * 7 * 7 * 4
    assert done.latency is not None
    assert [len(part) for part in done.latency.samples_ns] == [3, 3]
    assert done.emulator_ns is not None
    assert done.placement is not None
    assert len(done.placement.placement) == 1 + max(one.node or 0 for one in compared)
    assert done.cost is None  # nobody has the float form of a quantized file
    assert parse_run(dump_run(done)) == done


def refuse(*_: object, **__: object) -> None:
    raise ModelError("a limit of ours")


def test_what_the_emulator_alone_refuses_is_unknown_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = conv(shape=(1, 6, 6, 3), channels=2)
    data = saved(tmp_path, in0=samples(made, 4))
    with monkeypatch.context() as changed:
        changed.setattr(exactness, "read_model", refuse)
        done = run(tmp_path, made.data, data)
    assert done.failure is None
    assert done.latency is not None
    assert done.exactness is not None
    assert done.exactness.verdict == "unknown"
    assert done.exactness.reason.endswith("the emulator refuses it: a limit of ours")

    monkeypatch.setattr(exactness, "expose", refuse)
    done = run(tmp_path, made.data, data)
    assert done.exactness is not None
    assert (done.exactness.verdict, done.exactness.intermediates) == ("exact", ())
    assert done.exactness.reason == "tensors inside were not compared: a limit of ours"


def planted(monkeypatch: pytest.MonkeyPatch, profile: str, semantics: str) -> None:
    """Let one profile mean something else by CONV_2D."""

    def changed(right: ArithmeticProfile) -> ArithmeticProfile:
        entries = tuple(
            replace(entry, semantics=semantics) if "CONV_2D" in entry.ops else entry
            for entry in right.entries
        )
        return replace(right, entries=entries)

    table = dict(profiles.PROFILES)
    table[profile] = changed(table[profile])
    monkeypatch.setattr(profiles, "PROFILES", table)


def test_a_planted_semantic_change_is_traced_to_its_op(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, "litert-xnnpack-x86", "S1:double")
    x = np.random.default_rng(0).integers(-128, 128, (40, 5, 5, 4), np.int8)
    done = run(tmp_path, residual(), saved(tmp_path, in0=x))
    assert done.outcome is Outcome.FAIL
    assert done.exactness is not None
    assert done.exactness.verdict == "differs"
    first = done.exactness.first_divergence
    assert first is not None
    assert first.op == "CONV_2D"
    assert first.tensor == RESIDUAL_TENSORS["CONV_2D"]
    assert first.example is not None
    assert first.example.accumulator is not None
    assert abs(int(first.example.expected) - int(first.example.got)) == 1
    before = [one for one in done.exactness.intermediates if (one.node or 0) < (first.node or 0)]
    assert before
    assert all(one.differing == 0 for one in before)


def test_a_partial_batch_is_filled_up_and_cut_off(tmp_path: Path) -> None:
    made = conv(shape=(4, 6, 6, 3), channels=2)
    x = samples(made, 2)[:6]
    done = run(tmp_path, made.data, saved(tmp_path, in0=x))
    assert done.samples == 6
    assert done.exactness is not None
    assert done.exactness.verdict == "exact"
    assert done.exactness.outputs[0].elements == 6 * 6 * 6 * 2


def test_limits_decide(tmp_path: Path) -> None:
    made = conv(shape=(1, 6, 6, 3), channels=2)
    data = saved(tmp_path, in0=samples(made, 4))
    strict = Limits(exactness=ExactnessLimits(require="exact"))
    assert run(tmp_path, made.data, data, limits=strict).outcome is Outcome.PASS
    scored = Limits(accuracy=AccuracyLimits(min_top1=0.5))
    with pytest.raises(UsageError, match="min_top1 needs labels"):
        run(tmp_path, made.data, data, limits=scored)
    agreeing = Limits(accuracy=AccuracyLimits(min_agreement=0.5))
    assert run(tmp_path, made.data, data, limits=agreeing).outcome is Outcome.FAIL


def test_an_output_that_is_always_the_same_looks_wrong(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(1, 128, (20, 6), np.int8)
    done = run(tmp_path, saturating(), saved(tmp_path, in0=x))
    assert done.exactness is not None
    assert done.exactness.verdict == "exact"
    assert done.outcome is Outcome.WARN
    assert [one.kind for one in done.warnings] == ["constant-output"]
    assert done.reasons == tuple(map(str, done.warnings))
    assert done.summary.startswith("WARN (exact; looks wrong: constant-output; accuracy not judged")
    assert parse_run(dump_run(done)) == done
    known = Limits(defaults=DefaultLimits(accept=("constant-output",)))
    done = run(tmp_path, saturating(), saved(tmp_path, in0=x), limits=known)
    assert done.outcome is Outcome.PASS
    assert any("accepted by [defaults]" in note for note in done.notes)


def test_labels_that_no_output_can_be_held_against_stop_before_the_device(tmp_path: Path) -> None:
    made = conv(shape=(1, 6, 6, 3), channels=2)
    data = saved(tmp_path, in0=samples(made, 4), labels=np.array([0, 1, 1, 0]))
    broken = replace(this_host(tmp_path), python="/nowhere/python3")
    with pytest.raises(UsageError, match=r"class 1 of sample 1 can be held against no output"):
        run(tmp_path, made.data, data, device=broken)


def test_a_failed_machine_keeps_what_is_known(tmp_path: Path) -> None:
    made = conv(shape=(1, 6, 6, 3), channels=2)
    data = saved(tmp_path, in0=samples(made, 4))
    broken = replace(this_host(tmp_path), python="/nowhere/python3")
    done = run(tmp_path, made.data, data, device=broken)
    assert done.outcome is Outcome.ERROR
    assert done.failure is not None
    assert done.failure.kind == "RuntimeMissing"
    assert done.manifest is not None
    assert done.samples == 4


MODULE = """
import torch
def model():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(8, 7))
    return net, (torch.zeros(1, 3, 12, 12),)
"""


@pytest.mark.slow
def test_a_torch_model_goes_the_whole_way(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODULE)
    random = np.random.default_rng(0)
    x = random.normal(size=(30, 3, 12, 12)).astype(np.float32)
    data = saved(tmp_path, in0=x, labels=random.integers(0, 7, 30))
    done = run(
        tmp_path,
        b"",
        data,
        model=f"{tmp_path / 'net.py'}:model",
        recipe=RECIPES["static_wi8_ai8"],
        host=this_host(tmp_path, "another name for this host"),
    )
    assert done.outcome is Outcome.PASS, done.reasons
    assert done.manifest is not None
    assert done.manifest.inputs[0].dtype == "int8"
    assert done.manifest.recipe_digest == RECIPES["static_wi8_ai8"].digest()
    assert done.recipe_digest == done.manifest.recipe_digest
    assert done.exactness is not None
    assert done.exactness.verdict == "exact"
    assert done.accuracy is not None
    assert done.accuracy.agreement is not None
    assert done.accuracy.top5 is not None
    assert done.cost is not None
    assert done.cost.tensors[0].sqnr_db > 20
    assert len(done.cost.tensors) > 2  # tensors inside are matched by name
    assert done.host_latency is not None
    assert done.accuracy.scored == "the output: 7 classes"
    assert done.summary == "PASS (exact; accuracy not judged: no limits)"
    # What chose the recipe does not judge it; on other data there is nothing to leave out.
    model = f"{tmp_path / 'net.py'}:model"
    digest = load_data(str(data), open_model(model)).digest()
    for tuned_on, judged, note in (
        (digest, 10, "10 samples that the recipe was tuned on are left out; 10 others are judged"),
        ("0" * 64, 20, "the recipe was tuned on other data"),
    ):
        recipe = replace(RECIPES["static_wi8_ai8"], tuned_on=tuned_on)
        tuned = run(tmp_path, b"", data, model=model, recipe=recipe)
        assert tuned.samples == judged
        assert any(note in one for one in tuned.notes)
        assert tuned.manifest == done.manifest, "from the cache: it is the same artifact"
    # Judged with samples far beyond those that it was calibrated with, its input is clipped.
    small = saved(tmp_path, in0=x, calibration0=x[:8] / 50)
    destroyed = run(tmp_path, b"", small, model=model, recipe=RECIPES["static_wi8_ai8"])
    assert destroyed.exactness is not None
    assert destroyed.exactness.verdict == "exact"
    assert destroyed.outcome is Outcome.WARN
    assert [one.kind for one in destroyed.warnings] == ["clipped"]
    assert "'serving_default_args_0" in destroyed.warnings[0].where
    wrong = saved(tmp_path, in0=x, labels=np.full(30, 7))
    with pytest.raises(UsageError, match="outside the model's 7 classes"):
        run(tmp_path, b"", wrong, model=model, recipe=RECIPES["static_wi8_ai8"])


def test_a_file_that_edgefarm_made_takes_the_data_of_its_model(tmp_path: Path) -> None:
    """Its manifest says that channels were first; a changed file is any other file again."""
    made = conv(shape=(1, 6, 5, 3), channels=2)
    file = tmp_path / "made.tflite"
    file.write_bytes(made.data)
    spec = TensorSpec("x", (1, 6, 5, 3), "int8", Quantization(1.0, 0), (0, 2, 3, 1))
    output = TensorSpec("y", (1, 6, 5, 2), "int8", Quantization(1.0, 0), (0, 2, 3, 1))
    size, digest = len(made.data), sha256_file(file)
    manifest = Manifest(
        digest, size, "litert", "host-litert", "static_wi8_ai8", "net.py:net", (spec,), (output,)
    )
    save_manifest(Artifact(file, replace(manifest, recipe_digest="d" * 64)))
    first = np.ascontiguousarray(samples(made, 4).transpose(0, 3, 1, 2))
    last = run(tmp_path, made.data, saved(tmp_path, in0=samples(made, 4)))
    data = saved(tmp_path, in0=first)
    done = run(tmp_path, b"", data, model=str(file))
    assert done.outcome is Outcome.PASS, done.reasons
    assert (done.recipe, done.recipe_digest) == ("static_wi8_ai8", "d" * 64)
    assert any("was made of net.py:net by recipe static_wi8_ai8" in note for note in done.notes)
    assert done.outputs_sha256 == last.outputs_sha256  # the device got the same integers
    file.write_bytes(residual())
    with pytest.raises(UsageError, match=r"np\.transpose|each sample has shape"):
        run(tmp_path, b"", data, model=str(file))


def test_open_sizes_are_fixed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    x = np.random.default_rng(0).integers(-128, 128, (3, 6, 5, 3), np.int8)
    data = saved(tmp_path, in0=x)
    with pytest.raises(UsageError, match="--shape in0=1,6,5,3"):
        run(tmp_path, open_shapes(), data)
    done = run(tmp_path, open_shapes(), data, shapes=("in0=1,6,5,3",))
    assert done.exactness is not None
    assert (done.exactness.verdict, done.exactness.outputs[0].elements) == ("exact", 15)
