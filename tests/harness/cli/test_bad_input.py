"""The bad-input table of the command line, row by row: answer, exit code, nothing left behind."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farm.inventory import add_device, inventory_path
from harness.arithmetic.profile import ArithmeticProfile
from harness.device import Address, Device
from harness.emulator import profiles
from harness.records import load_run
from tests.harness.cli.command import Edgefarm, Said
from tests.harness.cli.conftest import Quantized

ON_HOST = ("--target", "host-litert", "--quick", "--out", "runs")
RANDOM = np.random.default_rng(0).bytes(3000)


# Row 1: no such file, wrong suffix, function missing or returning the wrong thing.


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("absent.tflite", "absent.tflite"),
        ("absent.py:model", "absent.py"),
        ("model.onnx", "a .pt2 file, a .tflite file or a .pte file"),
        ("zoo:nothing", "digits-cnn"),
        ("net.py", "function"),
        ("net.py:absent", "absent"),
        ("net.py:number", "torch.nn.Module"),
        ("net.py:pair", "torch.nn.Module"),
    ],
)
def test_a_wrong_model_reference(
    edgefarm: Edgefarm, quantized: Quantized, model: str, said: str
) -> None:
    Path("model.onnx").write_bytes(b"")
    Path("net.py").write_text("def number():\n    return 3\ndef pair():\n    return 1, 2\n")
    ended = edgefarm("run", model, "--data", quantized.data, "--recipe", "float", *ON_HOST)
    assert ended.code == 2
    assert said in ended.err
    assert "UsageError" in ended.err


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("absent.npz", "absent.npz"),
        ("data.csv", ".npz"),
        ("source.py:absent", "absent"),
        ("source.py:number", "batches"),
    ],
)
def test_a_wrong_data_reference(
    edgefarm: Edgefarm, quantized: Quantized, data: str, said: str
) -> None:
    Path("data.csv").write_text("1,2\n")
    Path("source.py").write_text("def number():\n    return 3\n")
    ended = edgefarm("run", quantized.file, "--data", data, *ON_HOST)
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--target", "abacus"),
        ("--target", "host-litert", "--recipe", "int3"),
        ("--target", "host-litert", "--device", "nobody"),
        ("--target", "host-litert", "--limits", "absent.toml"),
        ("--target", "host-litert", "--recipe", "static_wi8_ai8"),  # it is quantized already
    ],
)
def test_a_wrong_choice_lists_what_there_is(
    edgefarm: Edgefarm, quantized: Quantized, arguments: tuple[str, ...]
) -> None:
    ended = edgefarm("run", quantized.file, "--data", quantized.data, *arguments)
    assert ended.code == 2
    assert "UsageError" in ended.err


@pytest.mark.parametrize("option", ["", "--data", "--out", "--limits", "--device", "--recipe"])
def test_arguments_that_are_not_utf8_are_refused(
    edgefarm: Edgefarm, quantized: Quantized, option: str
) -> None:
    wild = os.fsdecode(b"n\xe9t.tflite")
    options = {"--data": quantized.data, "--target": "host-litert", "--out": "runs"}
    options |= {option: wild} if option else {}
    flat = [part for pair in options.items() for part in pair]
    ended = edgefarm("run", quantized.file if option else wild, *flat, "--json")
    assert ended.code == 2
    assert "n\\udce9t.tflite': not UTF-8" in ended.json["error"]["message"].replace("\\\\", "\\")


@pytest.mark.parametrize("command", ["run", "quantize", "emulate"])
def test_where_nothing_can_be_written_is_told_first(
    edgefarm: Edgefarm, quantized: Quantized, command: str
) -> None:
    Path("file").touch()
    given = {
        "run": ("--data", quantized.data, "--target", "host-litert", "--out", "/proc/x"),
        "quantize": ("--data", quantized.data, "--target", "host-litert", "--out", "file/sub"),
        "emulate": ("--inputs", quantized.data, "--profile", "litert-ref", "--out", "absent/o.npz"),
    }[command]
    ended = edgefarm(command, quantized.file, *given)
    assert ended.code == 2
    assert f"--out {given[-1]}: " in ended.err
    assert "·" not in ended.err  # no stage was begun


# Row 2: truncated, empty or random bytes.


@pytest.mark.parametrize(
    "option",
    [("--device", "board"), ("--kernels", "builtin"), ("--signature", "serve"), ("--threads", 2)],
)
def test_the_judge_of_tflm_has_no_choices(
    edgefarm: Edgefarm, tmp_path: Path, option: tuple[str, object]
) -> None:
    said = edgefarm("verify", tmp_path / "model.tflite", "--profile", "tflm", *option)
    assert said.code == 2
    assert "--profile tflm: its interpreter runs on this host" in said.err


@pytest.mark.parametrize("content", [b"", RANDOM, None], ids=["empty", "random", "truncated"])
@pytest.mark.parametrize("suffix", [".tflite", ".pt2", ".npz"])
def test_a_broken_file_is_named(
    edgefarm: Edgefarm, quantized: Quantized, suffix: str, content: bytes | None
) -> None:
    broken = Path(f"broken{suffix}")
    whole = quantized.data if suffix == ".npz" else quantized.file
    broken.write_bytes(whole.read_bytes()[:-200] if content is None else content)
    model = quantized.file if suffix == ".npz" else broken
    data = broken if suffix == ".npz" else quantized.data
    recipe = ("--recipe", "float") if suffix == ".pt2" else ()
    ended = edgefarm("run", model, "--data", data, *recipe, *ON_HOST)
    assert ended.code == (2 if suffix == ".npz" else 1)  # data are the caller's
    said = ended.out + ended.err
    assert broken.name in "".join(said.split())  # a table may break a long path

    if suffix == ".tflite":
        emulated = edgefarm(
            *("emulate", broken, "--profile", "litert-ref"),
            *("--inputs", quantized.data, "--out", "out.npz"),
        )
        assert emulated.code == 1
        assert broken.name in emulated.err


# Row 3: an op that the emulator has no definition for.


@pytest.fixture
def _no_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles that know nothing of CONV_2D."""

    def without(profile: ArithmeticProfile) -> ArithmeticProfile:
        kept = tuple(entry for entry in profile.entries if "CONV_2D" not in entry.ops)
        return replace(profile, entries=kept)

    table = {name: without(profile) for name, profile in profiles.PROFILES.items()}
    monkeypatch.setattr(profiles, "PROFILES", table)


@pytest.mark.usefixtures("_no_convolution")
def test_an_unknown_op_is_named_and_never_passes(edgefarm: Edgefarm, quantized: Quantized) -> None:
    emulated = edgefarm(
        *("emulate", quantized.file, "--profile", "litert-ref"),
        *("--inputs", quantized.data, "--out", "out.npz"),
    )
    assert emulated.code == 1
    assert "unknown: node 0 (CONV_2D, " in emulated.err

    ran = edgefarm("run", quantized.file, "--data", quantized.data, *ON_HOST, "--json")
    exactness = ran.json["exactness"]
    assert exactness["verdict"] == "unknown"
    assert "CONV_2D" in exactness["reason"]
    assert exactness["outputs"][0]["differing"] is None

    Path("limits.toml").write_text('[exactness]\nrequire = "exact"\n')
    required = edgefarm(
        *("run", quantized.file, "--data", quantized.data, "--limits", "limits.toml"), *ON_HOST
    )
    assert required.code == 1


# Row 4: calibration data of the wrong shape or dtype, or with NaN.


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((8, 4, 4), np.float32), "shape"),
        (np.zeros((8, 1, 8, 8), np.int64), "dtype"),
        (np.full((8, 1, 8, 8), np.nan, np.float32), "nan"),
    ],
    ids=["shape", "dtype", "NaN"],
)
def test_bad_calibration_data_is_named_before_any_conversion(
    edgefarm: Edgefarm, array: np.ndarray, said: str
) -> None:
    np.savez("data.npz", in0=array)
    Path("net.py").write_text(
        "import torch\n"
        "def model():\n"
        "    return torch.nn.Conv2d(1, 2, 3), (torch.zeros(1, 1, 8, 8),)\n"
    )
    ended = edgefarm(
        *("run", "net.py:model", "--data", "data.npz", "--recipe", "static_wi8_ai8"), *ON_HOST
    )
    assert ended.code == 2
    assert "UsageError: data.npz: in0" in ended.err
    assert said in ended.err
    assert "converting" not in ended.err


# Row 5: the machine fails. A typed error, exit code 3, and nothing left on the device.


@pytest.fixture
def run_on(edgefarm: Edgefarm, quantized: Quantized) -> Callable[[Device], Said]:
    def run(device: Device) -> Said:
        add_device(inventory_path(), device)
        return edgefarm(
            *("run", quantized.file, "--data", quantized.data, "--device", device.name), *ON_HOST
        )

    return run


def failure_of_the_only_run() -> str:
    [stored] = Path("runs").rglob("run.json")
    run = load_run(stored)
    assert run.failure is not None
    assert run.outcome == "ERROR"
    return run.failure.kind


def local(folder: Path, python: str | None = sys.executable) -> Device:
    return Device("bad", "local", ("host-litert",), workdir=str(folder / "work"), python=python)


def left_behind(folder: Path) -> list[Path]:
    return list((folder / "work" / "jobs").glob("*"))


def test_an_unreachable_device(run_on: Callable[[Device], Said]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    pin = "SHA256:" + "A" * 43
    address = Address("127.0.0.1", port, "root")
    ended = run_on(Device("bad", "ssh", ("host-litert",), address, pin))
    assert ended.code == 3
    assert f"device bad: nothing listens at 127.0.0.1:{port}" in ended.out
    assert failure_of_the_only_run() == "TransportError"


def test_a_runtime_that_is_missing(run_on: Callable[[Device], Said], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    ended = run_on(local(tmp_path, str(tmp_path / "bare/bin/python")))
    assert ended.code == 3
    assert failure_of_the_only_run() == "RuntimeMissing"
    assert not left_behind(tmp_path)


def test_an_interpreter_that_is_missing(run_on: Callable[[Device], Said], tmp_path: Path) -> None:
    ended = run_on(local(tmp_path, "/nowhere/python3"))
    assert ended.code == 3
    assert failure_of_the_only_run() == "RuntimeMissing"
    assert not left_behind(tmp_path)


def test_a_runner_that_is_killed(run_on: Callable[[Device], Said], tmp_path: Path) -> None:
    suicidal = tmp_path / "python"
    suicidal.write_text("#!/bin/sh\necho last words >&2\nkill -9 $$\n")
    suicidal.chmod(0o755)
    ended = run_on(local(tmp_path, str(suicidal)))
    assert ended.code == 3
    assert "last words" in ended.out
    assert failure_of_the_only_run() == "RunnerKilled"
    assert not left_behind(tmp_path)


TARGETS = ("host-litert",)
"""What a run here is for; the board is not reached."""


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(run_on: Callable[[Device], Said], tiny_disk: Path) -> None:
    ended = run_on(local(tiny_disk))
    assert ended.code == 3
    assert failure_of_the_only_run() == "DeviceFull"
    assert not left_behind(tiny_disk)


def test_a_changed_host_key(run_on: Callable[[Device], Said], cortex_a76: Device) -> None:
    changed = replace(cortex_a76, name="bad", targets=TARGETS, host_key="SHA256:" + "A" * 43)
    ended = run_on(changed)
    assert ended.code == 3
    assert "SHA256:" + "A" * 43 in ended.out
    assert failure_of_the_only_run() == "HostKeyChanged"


def test_a_refused_login_key(
    run_on: Callable[[Device], Said], cortex_a76: Device, tmp_path: Path
) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is missing: apt-get install openssh-client")
    key = tmp_path / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    address = replace(cortex_a76.address, key_file=str(key))
    ended = run_on(replace(cortex_a76, name="bad", targets=TARGETS, address=address))
    assert ended.code == 3
    assert failure_of_the_only_run() == "TransportError"
