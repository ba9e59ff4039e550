"""ExecuTorch programs of drawn nodes and kernel calls, run by either runner, node by node."""

import io
import shlex
import subprocess
import tarfile
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile
from harness.artifact import sha256_file
from harness.device import Device, Transport
from harness.emulator.binding import signature
from harness.emulator.formats.model_file import read_model
from harness.emulator.graph import Graph
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.protocol import Job, parse_result
from targets.runner.build_executorch import native_executorch
from tests.evidence.cases import Row, row_of
from tests.evidence.measure import Measured, Tally
from tests.oracle import kernel_families, programs
from tests.oracle.build import Array
from tests.oracle.models import Draw, Style
from tests.oracle.payload_families import FAMILIES, draw_program

STYLES: tuple[Style, ...] = ("random", "dyadic", "ties")
NODES = 12
SEEDS = (7, 8)
MORE_NODES = {"mean": 240}
"""Of families with few elements, of which few tell one rounding from another."""
_TIMEOUT_S = 1800.0


@dataclass(frozen=True, eq=False)
class Program:
    """A file, the inputs of one call, and the family that it is drawn from."""

    family: str
    data: bytes
    inputs: tuple[Array, ...]


def drawn_inputs(data: bytes, rng: np.random.Generator) -> list[Array]:
    """Inputs of all values that there are, or that a scale makes of them."""
    graph = read_model(data).main
    made: list[Array] = []
    for tensor in (graph.tensors[i] for i in graph.inputs):
        if tensor.dtype == "int8":
            made.append(rng.integers(-128, 128, tensor.shape).astype(np.int8))
        else:
            spread = rng.choice([0.1, 1, 10])
            made.append((rng.normal(size=tensor.shape) * spread).astype(np.float32))
    return made


def all_programs(patterns: Sequence[str]) -> Iterator[Program]:
    """Those of the families whose names fit one of the patterns."""
    for family in FAMILIES:
        if any(fnmatchcase(family, pattern) for pattern in patterns):
            for style in STYLES:
                for seed in SEEDS:
                    data = draw_program(family, MORE_NODES.get(family, NODES), Draw(seed, style))
                    inputs = drawn_inputs(data, np.random.default_rng(seed))
                    yield Program(family, data, tuple(inputs))
    for path in (programs.GOLDEN.with_suffix(".pte"), programs.BESIDE):
        if any(fnmatchcase(path.stem, pattern) for pattern in patterns):
            data = path.read_bytes()
            yield Program(path.stem, data, tuple(drawn_inputs(data, np.random.default_rng(0))))
    for family, calls in kernel_families.EXACT.items():
        if any(fnmatchcase(family, pattern) for pattern in patterns):
            for seed in SEEDS:
                builder = kernel_families.draw_kernels(calls, seed)
                yield Program(family, builder.finish(), tuple(builder.inputs))


def measure_programs(
    profile: str, cases: Sequence[Program], transport: Transport | None, under: tuple[str, ...]
) -> Measured:
    """Run each and hold what it gives against the profile.

    Args:
        profile: its name.
        cases: what to run.
        transport: to a board, which gets the native runner; None for this host.
        under: on this host, the emulator of a processor that the native runner runs under; where
            it is empty, the Python runner's library runs them.
    """
    if transport is None and not under:
        answers: Iterator[list[Array] | str] = (
            programs.run(case.data, [case.inputs])[0] for case in cases
        )
    else:
        answers = _native(cases, transport, under)
    measured = Measured()
    for case, answer in zip(cases, answers, strict=True):
        tally = measured.families.setdefault(case.family, Tally())
        tally.models += 1
        if isinstance(answer, str):
            tally.refused.append(answer)
        else:
            _hold(case, answer, get_profile(profile), measured, tally)
    return measured


def _hold(
    case: Program,
    answer: Sequence[Array],
    profile: ArithmeticProfile,
    measured: Measured,
    tally: Tally,
) -> None:
    """Each output by itself: a program has many, of nodes that know nothing of each other."""
    graph = read_model(case.data).main
    rows = _rows_behind(graph, profile)
    found = emulate(graph, profile, [x if x.ndim else x[None] for x in case.inputs])
    credited: Counter[Row] = Counter()
    for index, y, got in zip(graph.outputs, found.outputs, answer, strict=True):
        if y is None:
            tally.unknown += 1
            continue
        count = _differing(y, got)
        if found.promises[index] != "exact":
            tally.loose += y.size
            tally.loose_differing += count
            continue
        tally.elements += y.size
        tally.differing += count
        if count:
            tally.wrong.append(str(index))
            measured.differing |= rows[index]
        else:
            credited.update(dict.fromkeys(rows[index], y.size))
    measured.elements.update(credited)


def _differing(expected: Array, got: Array) -> int:
    if expected.size != got.size or expected.dtype != got.dtype:
        return expected.size
    same = expected == got.reshape(expected.shape)
    if expected.dtype.kind == "f":
        same |= np.isnan(expected) & np.isnan(got.reshape(expected.shape))
    return int(np.count_nonzero(~same))


def _rows_behind(graph: Graph, profile: ArithmeticProfile) -> dict[int, set[Row]]:
    """By tensor: the rows that decided on the nodes it is made by."""
    rows: dict[int, set[Row]] = {}
    for node in graph.nodes:
        inputs = [None if i < 0 else graph.tensors[i] for i in node.inputs]
        s = signature(node, inputs, [graph.tensors[i] for i in node.outputs])
        entry = profile.lookup(s)
        own = set().union(*(rows.get(i, set()) for i in node.inputs))
        if entry is not None:
            own.add(row_of(entry, s.op, s.dtypes[0], s.dtypes[1] if len(s.dtypes) > 1 else ""))
        rows |= dict.fromkeys(node.outputs, own)
    return rows


def _native(
    cases: Sequence[Program], transport: Transport | None, under: tuple[str, ...]
) -> Iterator[list[Array] | str]:
    """Outputs, or the runner's words, of each; all of them in one go."""
    runner = native_executorch("x86_64" if transport is None else "aarch64")
    with tempfile.TemporaryDirectory(prefix="evidence-") as name:
        folder = Path(name)
        for number, case in enumerate(cases):
            _write_job(folder / str(number), case)
        for path in runner.files:
            (folder / path.name).write_bytes(path.read_bytes())
        device = Device("here", "local") if transport is None else transport.device
        files = tuple(f"./{path.name}" for path in runner.files)
        *argv, _ = runner.argv(device, files, "")
        loop = (
            f"chmod u+x {files[0]}; for n in $(seq 0 {len(cases) - 1}); do "
            f'{shlex.join((*under, *argv))} "$PWD/$n" || exit 9; done'
        )
        if transport is None:
            subprocess.run(("sh", "-c", loop), cwd=folder, check=True, timeout=_TIMEOUT_S)
        else:
            _run_there(transport, folder, loop)
        for number in range(len(cases)):
            yield _read(folder / f"{number}/out")


def _write_job(folder: Path, case: Program) -> None:
    (folder / "out").mkdir(parents=True)
    (folder / "model.pte").write_bytes(case.data)
    names = tuple(f"in{slot}.npy" for slot in range(len(case.inputs)))
    for name, x in zip(names, case.inputs, strict=True):
        np.save(folder / name, x)
    job = Job(
        runtime="executorch",
        artifact="model.pte",
        sha256=sha256_file(folder / "model.pte"),
        inputs=names,
    )
    (folder / "job.json").write_text(job.model_dump_json())


def _run_there(transport: Transport, folder: Path, loop: str) -> None:
    remote = f"{transport.device.workdir}-evidence-{uuid.uuid4().hex}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, ".")
    file = folder / "batch.tar.gz"
    file.write_bytes(packed.getvalue())
    script = (
        'mkdir "$1" && cd "$1" && tar -xzf "$1.tar.gz" && { '
        f'{loop}; }} >&2 && tar -cf "$1.out" */out && cat "$1.out"'
    )
    try:
        transport.push(file, f"{remote}.tar.gz", sha256=sha256_file(file), timeout_s=_TIMEOUT_S)
        done = transport.run(
            ("sh", "-c", script, "sh", remote), timeout_s=_TIMEOUT_S, max_output_bytes=1 << 30
        )
    finally:
        left = (remote, f"{remote}.tar.gz", f"{remote}.out")
        transport.run(("rm", "-rf", *left), timeout_s=_TIMEOUT_S)
    if done.exit_status != 0:
        raise RuntimeError(f"the runner failed: {done.stderr[-2000:]!r}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as results:
        results.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4
        results.extractall(folder)  # noqa: S202  what our own runner wrote


def _read(folder: Path) -> list[Array] | str:
    result = parse_result((folder / "result.json").read_bytes(), device="evidence")
    if result.failure is not None:
        return f"{result.failure.kind}: {result.failure.message}"
    return [np.load(folder / name) for name in result.outputs]
