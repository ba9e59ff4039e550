"""A transport that is watched, and that can break things between the steps of a job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.device import OUTPUT_BYTES, CommandResult, Device, PullLimits, Transport


@dataclass
class Observed:
    """Passes everything on to `transport`.

    Attributes:
        commands: every argv that ran.
        pushed: remote paths of the files that had to be sent.
        before_command: called with each argv; may raise.
        after_run: called with the job's folder when the Python runner has ended.
    """

    transport: Transport
    commands: list[tuple[str, ...]] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)
    before_command: Callable[[Sequence[str]], None] = lambda _argv: None
    after_run: Callable[[Path], None] = lambda _folder: None

    @property
    def device(self) -> Device:
        return self.transport.device

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        max_output_bytes: int = OUTPUT_BYTES,
    ) -> CommandResult:
        self.before_command(argv)
        self.commands.append(tuple(argv))
        ended = self.transport.run(
            argv, timeout_s=timeout_s, stdin=stdin, max_output_bytes=max_output_bytes
        )
        if "-I" in argv:
            self.after_run(Path(argv[-1]))
        return ended

    def push(self, local: Path, remote: str, *, sha256: str, timeout_s: float) -> int:
        sent = self.transport.push(local, remote, sha256=sha256, timeout_s=timeout_s)
        if sent:
            self.pushed.append(remote)
        return sent

    def pull(
        self, remote: str, local: Path, *, limits: PullLimits, timeout_s: float
    ) -> tuple[Path, ...]:
        return self.transport.pull(remote, local, limits=limits, timeout_s=timeout_s)

    def close(self) -> None:
        self.transport.close()
