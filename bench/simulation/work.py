"""The work of the simulation: a job's steps through the fence, judged as the real one is.

What `harness.evaluate` computes is left out; what can go wrong with it on a device is not.
"""

import hashlib
import json
import tempfile
import uuid
import zlib
from dataclasses import replace
from pathlib import Path

from bench.simulation.transport import RESULT
from farm.faults import Fault
from farm.job import JobRequest, job_request
from farm.probing import probe_fault
from farm.work import Stop
from harness.device import Connect, Device, PullLimits
from harness.errors import DeviceError, RunnerKilled
from harness.evaluate import run_ended_by
from harness.host.progress import Progress, no_progress
from harness.records import Exactness, Outcome, Run

TARGET = "host-litert"
_MODELS = 20


def request(label: str, selector: str = "") -> JobRequest:
    """A job for the simulation; a few models, so that artifacts are shared."""
    model = f"zoo:simulated-{zlib.crc32(label.encode()) % _MODELS}"
    fields = {"model": model, "data": model, "target": TARGET, "label": label}
    return job_request(fields | {"selector": selector, "time_limit_s": 30.0})


class Simulated:
    """See `farm.work.Work`."""

    def prepare(self, request: JobRequest, device: Device) -> None:
        """Nothing is made."""

    def run(
        self,
        request: JobRequest,
        device: Device,
        connect: Connect,
        report: Progress,  # noqa: ARG002  of the contract
        stop: Stop,
    ) -> Run:
        """Push, run, pull, compare."""
        run = run_ended_by(request.on(device), DeviceError("not done", device=device.name))
        run = replace(run, failure=None, reasons=(), tool_versions={})
        stop()
        try:
            nonce, answer = _on_device(request.label, device, connect)
        except DeviceError as error:
            return replace(run_ended_by(request.on(device), error), tool_versions={})
        right = answer == zlib.crc32(request.label.encode())
        exactness = Exactness("simulated", "exact" if right else "differs", reason="the answer")
        outcome = Outcome.PASS if right else Outcome.FAIL
        return replace(run, outcome=outcome, exactness=exactness, notes=(nonce,))


def probe(device: Device, connect: Connect) -> Fault | None:
    """The golden model of the simulation."""
    run = Simulated().run(request("golden"), device, connect, no_progress, lambda: None)
    return probe_fault(run)


def _on_device(label: str, device: Device, connect: Connect) -> tuple[str, int]:
    nonce = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as name, connect(device) as transport:
        artifact = Path(name) / "artifact"
        artifact.write_bytes(label.encode())
        digest = hashlib.sha256(label.encode()).hexdigest()
        transport.push(artifact, f"store/{digest}", sha256=digest, timeout_s=5)
        ended = transport.run(("job", nonce, label), timeout_s=5)
        if ended.exit_status != 0:
            raise RunnerKilled(f"status {ended.exit_status}", device=device.name)
        transport.pull("out", Path(name) / "out", limits=PullLimits(), timeout_s=5)
        result = json.loads((Path(name) / "out" / RESULT).read_bytes())
    return result["nonce"], result["answer"]
