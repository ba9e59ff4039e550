"""What a program finds on a started board."""

import base64
import json

import pytest

from farm.virtual.rootfs import RuntimeKind
from harness.device import Device
from tests.conftest import StartedBoard
from tests.farm.virtual.conftest import Shell
from tests.oracle.models import conv
from tests.oracle.runtimes import run as run_here


@pytest.fixture(params=["cortex-a53", "cortex-a76"])
def board(request: pytest.FixtureRequest) -> Device:
    return request.getfixturevalue(request.param.replace("-", "_"))


def test_is_an_aarch64_debian_of_its_own_name(board: Device, shell: Shell) -> None:
    words = shell(board, "uname -m; hostname; . /etc/os-release; echo $ID; id -un").split()
    assert words == ["aarch64", board.name, "debian", "edge"]


HWCAP_BITS = [
    *("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp"),
    *("asimdhp", "cpuid", "asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4"),
    *("asimddp", "sha512", "sve", "asimdfhm", "dit", "uscat", "ilrcpc", "flagm", "ssbs", "sb"),
]


def test_cpuinfo_tells_the_capabilities_of_the_emulated_core(board: Device, shell: Shell) -> None:
    program = (
        "import ctypes; get = ctypes.CDLL(None).getauxval; get.restype = ctypes.c_ulong\n"
        "print(get(ctypes.c_ulong(16)))"
    )
    hwcap = int(shell(board, "python3", program.encode()))
    features = shell(board, "grep -m1 ^Features /proc/cpuinfo").partition(":")[2].split()
    assert set(features) == {name for bit, name in enumerate(HWCAP_BITS) if hwcap >> bit & 1}


def test_sees_nothing_of_the_host(board: Device, shell: Shell) -> None:
    assert ".host" not in shell(board, "ls -A /").split()
    mounted = shell(board, "cut -d' ' -f2 /proc/mounts").split()
    assert not [
        point
        for point in mounted
        if not point.startswith(("/proc", "/sys", "/dev")) and point not in {"/", "/run"}
    ]
    processes = shell(board, "ps -e -o args=").splitlines()
    assert processes[0].split()[1] == "/usr/bin/tini"
    assert not [line for line in processes if "qemu-aarch64" not in line and "ps -e" not in line]


def test_the_runtime_s_byte_code_is_there(board: Device, shell: Shell) -> None:
    """Without it each start of a runner takes three times as long."""
    program = "import json, numpy, ai_edge_litert.interpreter as litert\n"
    program += "print(*(module.__cached__ for module in (json, numpy, litert)))"
    for cached in shell(board, "python3 -I", program.encode()).split():
        shell(board, f"test -s {cached}")


INTERPRET = """
import base64, json, sys
import numpy as np
import {module} as litert
job = json.load(sys.stdin)
answers = {{}}
for kernels, resolver in (("reference", "BUILTIN_REF"), ("default", "AUTO")):
    interpreter = litert.Interpreter(
        model_content=base64.b64decode(job["model"]),
        experimental_op_resolver_type=getattr(litert.OpResolverType, resolver),
    )
    interpreter.allocate_tensors()
    slot = interpreter.get_input_details()[0]
    x = np.frombuffer(base64.b64decode(job["input"]), np.int8).reshape(slot["shape"])
    interpreter.set_tensor(slot["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    delegated = [op["op_name"] for op in interpreter._get_ops_details()].count("DELEGATE")
    answers[kernels] = [y.ravel().tolist(), delegated]
print(json.dumps(answers))
"""


def interpret(device: Device, module: str, shell: Shell) -> dict[str, tuple[list[int], int]]:
    """Outputs and delegated partitions of one convolution, per kind of kernels."""
    program = INTERPRET.format(module=module)
    return json.loads(shell(device, f"python3 -c '{quoted(program)}'", json.dumps(JOB).encode()))


def quoted(program: str) -> str:
    assert "'" not in program
    return program


MODEL = conv(seed=1)
(X_Q,) = MODEL.sample(seed=2)
JOB = {
    "model": base64.b64encode(MODEL.data).decode(),
    "input": base64.b64encode(X_Q.tobytes()).decode(),
}


def output_here(kernels: str) -> list[int]:
    answer = run_here(MODEL.data, (X_Q,), kernels)
    assert not answer.error
    return answer.tensors[max(answer.tensors)].ravel().tolist()


def test_litert_computes_what_it_computes_here(board: Device, shell: Shell) -> None:
    answers = interpret(board, "ai_edge_litert.interpreter", shell)
    assert answers["reference"] == [output_here("reference"), 0]
    assert answers["default"] == [output_here("xnnpack"), 1], "XNNPACK must take the convolution"


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a76"])
def test_the_old_runtime_runs_and_does_not_delegate(
    core: str, started_board: StartedBoard, shell: Shell
) -> None:
    board = started_board(core, "tflite-runtime")
    answers = interpret(board, "tflite_runtime.interpreter", shell)
    assert answers["reference"] == [output_here("reference"), 0]
    assert answers["default"][1] == 0


@pytest.mark.slow
def test_a_small_board_has_busybox_and_no_python(started_board: StartedBoard, shell: Shell) -> None:
    kind: RuntimeKind = "none"
    board = started_board("cortex-a53", kind)
    assert board.python is None
    assert shell(board, "which python3 perl bash || echo none").strip() == "none"
    for command in ("sh", "sha256sum", "ps", "tar"):
        assert shell(board, f"readlink -f $(which {command})").strip() == "/usr/bin/busybox"
    # What a native runner is linked with.
    libraries = shell(board, "ls /usr/lib/aarch64-linux-gnu").split()
    assert {"libc.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libm.so.6"} <= set(libraries)
