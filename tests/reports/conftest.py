"""Runs as evaluations leave them: one of every outcome, and names that nobody should trust."""

from dataclasses import replace

import numpy as np
import pytest

from harness.artifact import Manifest, Quantization, TensorSpec
from harness.device import Address, Device
from harness.judge.accuracy import wilson
from harness.judge.compare import compare_tensor
from harness.on_device.latency import latency_from
from harness.protocol import MachineState, OpTime, Result
from harness.records import (
    Accuracy,
    Exactness,
    Failure,
    Outcome,
    QuantizationCost,
    Run,
    TensorComparison,
    TensorCost,
)

BOARD = Device(
    "board-a76",
    "ssh",
    ("arm-neon-litert",),
    Address("127.0.0.1", 2201, "root"),
    "SHA256:Xk3b",
    ("lab-1",),
    virtual=True,
    core="cortex-a76",
)
HOST = Device("host", "local", ("host-litert",))
HOSTILE = "<script>alert(1)</script>[red]\x1b[31m\u202e{{7*7}}"
OPS = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")


def _result(seed: int, median_us: float, *, warm_c: int = 44) -> Result:
    random = np.random.default_rng(seed)
    spread = random.lognormal(np.log(median_us * 1000), 0.03, 60)
    return Result(
        outputs=("out0.npy",),
        runner="python 1",
        runtime="ai_edge_litert",
        runtime_version="2.3.0",
        delegated=64,
        machine="aarch64",
        cpu="Arm 0x41 part 0xd0b",
        cpu_features=("fp", "asimd", "asimddp"),
        load_ns=41_000_000,
        warmup_ns=tuple(int(x) for x in spread[:10] * 1.4),
        latency_ns=tuple(int(x) for x in spread[10:]),
        peak_rss_bytes=88_000_000,
        op_times=tuple(
            OpTime(node=i, op=OPS[i % 3], total_ns=int(9e6 / (i + 1)), runs=50) for i in range(12)
        ),
        before=MachineState(
            governor="schedutil",
            frequencies_khz=(2_400_000,) * 4,
            temperatures_millidegree={"cpu": 41_000},
            load_average=0.2,
        ),
        after=MachineState(
            governor="schedutil",
            frequencies_khz=(2_400_000,) * 4,
            temperatures_millidegree={"cpu": warm_c * 1000},
            load_average=1.0,
        ),
    )


def _exactness(differing: bool) -> Exactness:
    """Forty nodes; with `differing`, an error that begins at node 12 and grows."""
    random = np.random.default_rng(5)
    compared: list[TensorComparison] = []
    for node in range(40):
        expected = random.integers(-100, 100, (8, 20, 20, 4), dtype=np.int8)
        got = expected.copy()
        if differing and node >= 12:
            off = random.random(got.shape) < min(0.6, 0.002 * (node - 11))
            step = np.rint(random.normal(0, 1 + (node - 12) / 8, got.shape)).astype(np.int8)
            got[off] += np.where(step == 0, 1, step)[off].astype(np.int8)
        compared.append(
            compare_tensor(
                f"efficientnet/block{node // 3}/{OPS[node % 3].lower()}_{node}",
                expected,
                got,
                "exact",
                tensor=node + 100,
                node=node,
                op=OPS[node % 3],
            )
        )
    first = next((one for one in compared if one.differing), None)
    if first is not None and first.example is not None:
        first = replace(first, example=replace(first.example, accumulator=-18432))
        compared[12] = first
    return Exactness(
        "litert-xnnpack-arm",
        "differs" if first else "exact",
        (compared[-1],),
        tuple(compared[:-1]),
        first,
        "" if first is None else "tensor is promised exact, but some of its elements differ",
    )


def _passing() -> Run:
    results = tuple(_result(seed, 5100 + 40 * seed) for seed in range(5))
    return Run(
        id="20261122T170500-1a2b",
        created="2026-11-22T17:05:00Z",
        outcome=Outcome.PASS,
        model="zoo:efficientnet-lite0",
        data="zoo:imagenet-samples",
        target="arm-neon-litert",
        recipe="static_wi8_ai8",
        device=BOARD,
        samples=96,
        manifest=Manifest(
            sha256="3f" * 32,
            bytes=5_413_344,
            runtime="litert",
            target="arm-neon-litert",
            recipe="static_wi8_ai8",
            model="zoo:efficientnet-lite0",
            inputs=(TensorSpec("in", (1, 224, 224, 3), "int8", Quantization(0.0078, -1)),),
            outputs=(TensorSpec("out", (1, 1000), "int8", Quantization(0.1, -30)),),
            tool_versions={"litert-torch": "0.10.0", "torch": "2.13.0"},
        ),
        results=results,
        exactness=_exactness(False),
        cost=QuantizationCost(
            "float model",
            tuple(
                TensorCost(f"efficientnet/block{i // 3}/{OPS[i % 3].lower()}_{i}", sqnr, cosine)
                for i, sqnr, cosine in [
                    (39, 24.1, 0.9979),
                    *((i, 38 - 0.3 * i + (i % 3), 0.9999 - 5e-5 * i) for i in range(39)),
                ]
            ),
        ),
        accuracy=Accuracy(96, wilson(71, 96), wilson(89, 96), wilson(73, 96), wilson(92, 96)),
        latency=latency_from(results, BOARD),
        host_latency=latency_from([_result(9, 2300)], HOST),
        emulator_ns=91_000_000,
        notes=("calibration and evaluation share 12 samples: too little data for both",),
        tool_versions={"edgefarm": "0.1.0", "python": "3.11.2", "numpy": "2.4.6"},
    )


@pytest.fixture(scope="session")
def passing() -> Run:
    return _passing()


@pytest.fixture(scope="session")
def failing(passing: Run) -> Run:
    found, slow = _exactness(True), _result(3, 9100, warm_c=71)
    return replace(
        passing,
        id="20261122T170900-77aa",
        created="2026-11-22T17:09:00Z",
        outcome=Outcome.FAIL,
        device=replace(BOARD, name="board-a53", core="cortex-a53"),
        reasons=(
            f"the device is not what the emulator expects: {found.reason}",
            "accuracy.min_top1 = 0.75, got 60.42% (95 %: 50.40% to 69.62%) of 96 samples",
        ),
        exactness=found,
        accuracy=Accuracy(96, wilson(58, 96), wilson(80, 96), wilson(73, 96), wilson(66, 96)),
        results=(slow,),
        latency=latency_from([slow], replace(BOARD, virtual=False)),
        notes=(),
    )


@pytest.fixture(scope="session")
def broken(passing: Run) -> Run:
    return Run(
        id="20261122T171100-0c0c",
        created="2026-11-22T17:11:00Z",
        outcome=Outcome.ERROR,
        model=passing.model,
        data=passing.data,
        target=passing.target,
        recipe="static_wi8_ai16",
        device=replace(BOARD, name="board-b"),
        failure=Failure(
            "RunnerKilled",
            "device board-b: the runner ended by signal 9\n  command: python3 runner.py job.json "
            "(exit status -9)\n  stderr: Killed",
        ),
    )


@pytest.fixture(scope="session")
def hostile(passing: Run) -> Run:
    """A run in which every string that comes from outside is an attack on the report."""
    output = TensorComparison(
        HOSTILE, "unknown", 3, None, tensor=1, node=0, op=HOSTILE, remark=HOSTILE
    )
    assert passing.manifest is not None
    assert passing.accuracy is not None
    return replace(
        passing,
        id="hostile",
        outcome=Outcome.FAIL,
        model=HOSTILE,
        data=HOSTILE,
        target=HOSTILE,
        recipe=HOSTILE,
        device=replace(BOARD, name=HOSTILE, tags=(HOSTILE,), core=HOSTILE),
        reasons=(HOSTILE,),
        manifest=replace(passing.manifest, notes=(HOSTILE,), tool_versions={HOSTILE: HOSTILE}),
        results=(
            passing.results[0].model_copy(
                update={
                    "cpu": HOSTILE,
                    "runtime": HOSTILE,
                    "op_times": (OpTime(node=1, op=HOSTILE, total_ns=5, runs=1),),
                    "before": MachineState(governor=HOSTILE, temperatures_millidegree={HOSTILE: 1}),
                }
            ),
        ),
        exactness=Exactness(HOSTILE, "unknown", (output,), (), None, HOSTILE),
        cost=QuantizationCost(HOSTILE, (TensorCost(HOSTILE, 1.0, 1.0), TensorCost("b", 2.0, 1.0))),
        failure=Failure(HOSTILE, HOSTILE),
        notes=(HOSTILE,),
        tool_versions={HOSTILE: HOSTILE},
    )
