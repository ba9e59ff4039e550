"""A small job for a phone, that a fault strikes in one of its phases."""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from farm.devices import first_token
from farm.fence import claim
from farm.transports import connect
from harness.artifact import Artifact, Manifest, TensorSpec, sha256_file
from harness.device import CommandResult, Device, PullLimits, Transport
from harness.on_device.deploy import NONE, run_job
from harness.protocol import Result
from harness.target import Runner
from tests.farm.phones import VirtualPhone

Phase = Literal["connect", "push", "run", "pull", "clean-up"]
PHASES: tuple[Phase, ...] = ("connect", "push", "run", "pull", "clean-up")
ELEMENTS = 50_000
TIMEOUT_S = 12.0

# By then the fault has struck: what passes in a phase is more. A run is struck by the clock.
MOST_BYTES = {"connect": 0, "push": 40_000, "run": 0, "pull": 40_000, "clean-up": 400}
RUN_S = 0.5

# The runner of this job: the outputs are the inputs.
_PROGRAM = f"""
cat "$1/in0.npy" >"$1/out/out0.npy" || exit 1
sleep {RUN_S}
echo '{Result(outputs=("out0.npy",), runner="shell").model_dump_json()}' >"$1/out/new" || exit 1
mv "$1/out/new" "$1/out/result.json"
"""


@dataclass
class Striking:
    """Passes everything on to `transport`, and strikes when a phase begins."""

    transport: Transport
    phase: Phase
    strike: Callable[[], None]
    struck: bool = False

    @property
    def device(self) -> Device:
        return self.transport.device

    def run(self, argv: Sequence[str], **limits: Any) -> CommandResult:
        self._begin("run", argv[0] == "sh" and "/store/" in argv[1])
        self._begin("clean-up", tuple(argv[:2]) == ("rm", "-rf"))
        return self.transport.run(argv, **limits)

    def push(self, local: Path, remote: str, *, sha256: str, timeout_s: float) -> int:
        self._begin("push", remote.endswith("in0.npy"))
        return self.transport.push(local, remote, sha256=sha256, timeout_s=timeout_s)

    def pull(
        self, remote: str, local: Path, *, limits: PullLimits, timeout_s: float
    ) -> tuple[Path, ...]:
        self._begin("pull", True)
        return self.transport.pull(remote, local, limits=limits, timeout_s=timeout_s)

    def close(self) -> None:
        self.transport.close()

    def _begin(self, phase: Phase, now: bool) -> None:
        if now and phase == self.phase and not self.struck:
            self.struck = True
            self.strike()


class FaultJob:
    """The job, for any number of phones at a time."""

    def __init__(self, folder: Path) -> None:
        program, model = folder / "runner.sh", folder / "model.tflite"
        program.write_text(_PROGRAM)
        model.write_bytes(b"no model, the runner does not look")
        self._runner = Runner("native", (program,), lambda _, files, job: ("sh", files[0], job))
        spec = TensorSpec("x", (1, ELEMENTS), "int8")
        names = ("litert", "arm-neon-litert", "static_wi8_ai8", "identity")
        digest, size = sha256_file(model), model.stat().st_size
        self._artifact = Artifact(model, Manifest(digest, size, *names, (spec,), (spec,)))
        self._tokens: dict[str, int] = {}

    def run(
        self,
        phone: VirtualPhone,
        seed: int,
        phase: Phase | None = None,
        fault: str = "none",
    ) -> tuple[str, ...]:
        """Run it under a lease, as the farm does; the outputs must be right. Returns its notes."""
        rng = random.Random(seed)  # noqa: S311  no secret
        x = np.random.default_rng(seed).integers(-128, 128, (1, ELEMENTS)).astype(np.int8)

        def strike() -> None:
            if phase == "run":
                timer = threading.Timer(rng.uniform(0, RUN_S), have, ())
                timer.start()
            elif phase is not None:
                have(rng.randint(0, MOST_BYTES[phase]))

        def have(after_bytes: int = 0) -> None:
            phone.have(fault, after_bytes=after_bytes, seconds=0.5)  # type: ignore[arg-type]

        if phase == "connect":
            strike()
        with connect(phone.device) as transport:
            token = self._tokens.get(phone.name, first_token()) + 1
            self._tokens[phone.name] = token
            claim(transport, token, "test")
            struck = Striking(transport, phase or "connect", strike, struck=phase is None)
            ran = run_job(struck, self._runner, self._artifact, (x,), NONE, timeout_s=TIMEOUT_S)
        np.testing.assert_array_equal(ran.outputs[0], x)
        return ran.notes
