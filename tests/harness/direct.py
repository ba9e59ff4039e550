"""This host as a device, with hooks to break things between the steps of a job."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.artifact import sha256_file
from harness.device import CommandResult, Device, PullLimits
from harness.errors import DeviceTimeout


@dataclass
class DirectTransport:
    device: Device
    pushed: list[str] = field(default_factory=list)
    commands: list[tuple[str, ...]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        max_output_bytes: int = 64 << 20,
    ) -> CommandResult:
        self.commands.append(tuple(argv))
        try:
            done = subprocess.run(
                list(argv), input=stdin, capture_output=True, timeout=timeout_s, check=False
            )
        except FileNotFoundError:
            return CommandResult(tuple(argv), 127, b"", b"not found")
        except subprocess.TimeoutExpired as error:
            raise DeviceTimeout("too slow", device=self.device.name, argv=argv) from error
        return CommandResult(
            tuple(argv), done.returncode, done.stdout[:max_output_bytes], done.stderr
        )

    def push(self, local: Path, remote: str, *, sha256: str, timeout_s: float) -> int:  # noqa: ARG002  the contract's
        target = Path(remote)
        if target.exists() and sha256_file(target) == sha256:
            return 0
        self.pushed.append(remote)
        shutil.copyfile(local, target)
        return target.stat().st_size

    def pull(
        self,
        remote: str,
        local: Path,
        *,
        limits: PullLimits,  # noqa: ARG002  same
        timeout_s: float,  # noqa: ARG002  same
    ) -> tuple[Path, ...]:
        shutil.copytree(remote, local)
        return tuple(sorted(path.relative_to(local) for path in local.rglob("*")))

    def close(self) -> None:
        pass


@dataclass
class Broken(DirectTransport):
    """Calls `after_run(job folder)` when the runner has ended."""

    after_run: Callable[[Path], None] = lambda _folder: None

    def run(self, argv: Sequence[str], **options: object) -> CommandResult:
        ended = super().run(argv, **options)  # type: ignore[arg-type]
        if "-I" in argv:
            self.after_run(Path(argv[-1]))
        return ended
