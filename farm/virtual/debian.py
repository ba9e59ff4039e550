"""Where the packages come from: the host's own apt configuration, when the host is Debian."""

import subprocess
from pathlib import Path


def mirror_arguments(suite: str, target: Path) -> list[str]:
    """The end of mmdebstrap's command line: options, suite, target folder, mirrors.

    Proxies and checks are the host's. So are the mirrors if the host's apt lists this suite from
    Debian; on any other host mmdebstrap takes its own default.
    """
    options = [f"--aptopt={line}" for line in _apt_lines("apt-config", "dump", *_DUMP)]
    found = _apt_lines("apt-get", "indextargets", *_TARGETS)
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    mirrors = {
        f"deb {uri} {release} {component}": None
        for uri, release, component, origin in (line.split("|") for line in found)
        if release in suites and origin == "Debian"
    }
    return [*(line for line in options if _is_about_transfer(line)), suite, str(target), *mirrors]


_DUMP = ("--format", '%F "%v";%n', "Acquire")
_TARGETS = ("--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)", "Created-By: Packages")


def _is_about_transfer(line: str) -> bool:
    about = ("http::", "https::", "Check-", "Retries", "ForceIPv4")
    return line.startswith(tuple(f"Acquire::{name}" for name in about))


def _apt_lines(*argv: str) -> list[str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
