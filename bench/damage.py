"""Whether damage is seen: artifacts and outputs with bits turned, cut off, grown; hostile tars.

    python bench/damage.py --files 1000

A quarter each: artifacts on their way to the device and in its store, outputs in the device's job
folder and on their way back. The device is this host, the way is the real transport, the runner the
real one; only the bytes between are damaged. Exit code 1 when a damage is not seen, or an archive
gets out of its folder.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.progress import track  # noqa: E402  the tree is not installed

from bench.figures import Figure, print_figures  # noqa: E402
from farm.golden import MODEL, SAMPLES  # noqa: E402
from farm.transports.channel import Channel, Stream  # noqa: E402
from farm.transports.local import open_channel  # noqa: E402
from farm.transports.shell import ShellTransport  # noqa: E402
from farm.transports.tar import unpack  # noqa: E402
from farm.transports.untrusted import Refused, new_folder  # noqa: E402
from harness.artifact import TensorSpec, sha256_file  # noqa: E402
from harness.device import Device, PullLimits  # noqa: E402
from harness.emulator.formats.tflite import read_tflite  # noqa: E402
from harness.emulator.interpreter import emulate  # noqa: E402
from harness.emulator.profiles import get_profile  # noqa: E402
from harness.errors import DeviceError  # noqa: E402
from harness.judge.compare import compare_tensor  # noqa: E402
from harness.on_device.received import read_output  # noqa: E402
from harness.protocol import Job  # noqa: E402
from targets import get_target  # noqa: E402
from tests.farm.transports.hostile_tars import HOSTILE_TARS  # noqa: E402

LIMITS = PullLimits(max_files=20, max_file_bytes=1 << 20, max_total_bytes=1 << 20)
TIMEOUT_S = 30.0
UNSEEN = "not seen"
SAME = "harmless: the same numbers"
"""A file's header can be said in two ways, e.g. ``|i1`` and ``<i1``."""


def turn_bits(data: bytes, chance: random.Random) -> bytes:
    """One to three bits, anywhere."""
    damaged = bytearray(data)
    for bit in chance.sample(range(8 * len(data)), chance.randint(1, 3)):
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def cut_off(data: bytes, chance: random.Random) -> bytes:
    """Without its end."""
    return data[: chance.randrange(len(data))]


def grow(data: bytes, chance: random.Random) -> bytes:
    """With more behind it."""
    return data + chance.randbytes(chance.randint(1, 64))


AT_REST = (turn_bits, turn_bits, cut_off, grow)


class DamagedChannel:
    """A channel that turns bits of the first piece of its input or output that is long enough."""

    def __init__(self, channel: Channel, chance: random.Random) -> None:
        self._channel, self._chance = channel, chance
        self._done = False
        self.end_input, self.exit_status = channel.end_input, channel.exit_status
        self.close, self.sever = channel.close, channel.sever

    def send(self, data: bytes) -> None:
        """Damaged."""
        self._channel.send(self._damaged(data))

    def receive(self, timeout_s: float) -> tuple[Stream, bytes] | None:
        """Damaged, if it is from standard output."""
        got = self._channel.receive(timeout_s)
        if got is None or got[0] is not Stream.STDOUT:
            return got
        return got[0], self._damaged(got[1])

    def _damaged(self, data: bytes) -> bytes:
        if self._done or len(data) < 512:
            return data
        self._done = True
        return turn_bits(data, self._chance)


class Bench:
    """This host as a device, the golden model, and what an undamaged run of it left.

    Args:
        folder: to work in.
        chance: where damage falls.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.device = Device("this-host", "local", workdir=str(folder), python=sys.executable)
        self.sha256 = sha256_file(MODEL)
        with np.load(SAMPLES) as samples:
            x = samples["in0"]
        graph = read_tflite(MODEL).main
        made = emulate(graph, get_profile("litert-ref"), [x])
        (self.expected,) = made.outputs
        tensor = graph.tensors[graph.outputs[0]]
        self.spec = TensorSpec(tensor.name, tensor.shape, tensor.dtype)
        self.job = folder / "job"
        (self.job / "out").mkdir(parents=True)
        np.save(self.job / "in0.npy", x)
        asked = Job(
            runtime="litert", artifact=str(folder / self.sha256), sha256=self.sha256,
            inputs=("in0.npy",), kernels="reference",
        )  # fmt: skip
        (self.job / "job.json").write_text(asked.model_dump_json())
        (folder / self.sha256).write_bytes(MODEL.read_bytes())
        failure = self.run()
        assert failure is None, failure  # noqa: S101  nothing is damaged yet
        self.output = (self.job / "out" / "out0.npy").read_bytes()
        assert self.compared(self.job / "out" / "out0.npy") == SAME  # noqa: S101  as above

    def run(self) -> str | None:
        """Let the real runner do the job; the failure it tells."""
        program = get_target("host-litert").runner.files[0]
        subprocess.run([sys.executable, str(program), str(self.job)], check=True)
        result = json.loads((self.job / "out" / "result.json").read_bytes())
        failure = result.get("failure")
        return None if failure is None else str(failure["kind"])

    def compared(self, file: Path) -> str:
        """What holding an output against the emulator says."""
        try:
            got = read_output(file, self.spec, len(self.expected), device="this-host")
        except DeviceError as error:
            return type(error).__name__
        found = compare_tensor("out", self.expected, got, "exact")
        return "differs" if found.differing else SAME

    def damaged_transport(self) -> ShellTransport:
        """To this host; what goes through is damaged."""

        def opened(command: str, timeout_s: float) -> Channel:
            return DamagedChannel(open_channel(command, timeout_s), self.chance)

        return ShellTransport(self.device, opened, lambda: None)


def artifact_on_its_way(bench: Bench) -> str:
    """Push through a damaged channel."""
    remote = bench.folder / "pushed"
    remote.unlink(missing_ok=True)
    transport = bench.damaged_transport()
    try:
        transport.push(MODEL, str(remote), sha256=bench.sha256, timeout_s=TIMEOUT_S)
    except DeviceError as error:
        return UNSEEN if remote.exists() else type(error).__name__
    return UNSEEN


def artifact_in_the_store(bench: Bench) -> str:
    """Damage the file between push and run."""
    damage = bench.chance.choice(AT_REST)
    (bench.folder / bench.sha256).write_bytes(damage(MODEL.read_bytes(), bench.chance))
    return "the runner refuses it" if bench.run() == "artifact" else UNSEEN


def output_in_the_job_folder(bench: Bench) -> str:
    """Damage the file between run and pull: its hash is right, its numbers are not."""
    file = bench.folder / "damaged.npy"
    damaged = bench.chance.choice(AT_REST)(bench.output, bench.chance)
    file.write_bytes(damaged)
    told = bench.compared(file)
    payload = bench.expected.nbytes
    return UNSEEN if told == SAME and damaged[-payload:] != bench.output[-payload:] else told


def output_on_its_way(bench: Bench) -> str:
    """Pull through a damaged channel."""
    local = bench.folder / "pulled"
    transport = bench.damaged_transport()
    try:
        transport.pull(str(bench.job / "out"), local, limits=LIMITS, timeout_s=TIMEOUT_S)
    except DeviceError as error:
        return UNSEEN if local.exists() else type(error).__name__
    return UNSEEN


WAYS: tuple[Callable[[Bench], str], ...] = (
    artifact_on_its_way, artifact_in_the_store, output_in_the_job_folder, output_on_its_way,
)  # fmt: skip


def escapes(folder: Path) -> int:
    """How many hostile archives were not refused, or left anything on this host."""
    inside = folder / "host"
    inside.mkdir()
    escaped = 0
    for stream in HOSTILE_TARS:
        try:
            with new_folder(inside / "got", LIMITS) as got:
                unpack(iter([stream]), got)
        except Refused:
            escaped += sorted(folder.iterdir()) != [inside] or any(inside.iterdir())
        else:
            escaped += 1
    return escaped


def measure(files: int, seed: int) -> list[Figure]:
    """Damage that many files; the rows of the table."""
    chance = random.Random(seed)  # noqa: S311  a reproducible draw
    figures = []
    with tempfile.TemporaryDirectory(prefix="edgefarm-bench-") as name:
        bench = Bench(Path(name), chance)
        for way in WAYS:
            told = Counter(
                way(bench) for _ in track(range(files // len(WAYS)), way.__name__, transient=True)
            )
            reached = ", ".join(f"{count} {what}" for what, count in told.most_common())
            title = f"damaged {way.__name__.replace('_', ' ')}"
            figures.append(Figure(title, reached, f"{UNSEEN}: 0", told[UNSEEN] == 0))
    with tempfile.TemporaryDirectory(prefix="edgefarm-bench-") as name:
        escaped = escapes(Path(name))
    title = f"of {len(HOSTILE_TARS)} hostile archives, out of the folder"
    return [*figures, Figure(title, str(escaped), "0", escaped == 0)]


def main() -> None:
    """Damage and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    sys.exit(print_figures("damage", measure(options.files, options.seed), as_json=options.json))


if __name__ == "__main__":
    main()
