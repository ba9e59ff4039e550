"""Selectors: which devices a job may run on.

``target=arm-neon-litert, tag=lab2, tag=fast, count=3`` asks for three different devices that have
all of it; ``each`` for every device that has it, as the farm is when the job is submitted.
"""

from dataclasses import dataclass
from typing import Literal, cast

from harness.device import Device
from harness.errors import UsageError

MOST_DEVICES = 1000
_KEYS = "target=NAME, tag=WORD (several), name=DEVICE, host=LABHOST, kind=physical|virtual, count=N"


@dataclass(frozen=True)
class Selector:
    """What a device must have to be chosen; empty fields ask for nothing.

    Attributes:
        target: a target that it runs.
        tags: all of them.
        name: the device itself.
        host: the lab host that it is attached to.
        kind: physical or virtual.
        count: how many devices; None for each that matches.
    """

    target: str = ""
    tags: tuple[str, ...] = ()
    name: str = ""
    host: str = ""
    kind: Literal["", "physical", "virtual"] = ""
    count: int | None = 1

    def matches(self, device: Device, host: str | None) -> bool:
        """Whether a device, attached to a lab host, has what is asked for."""
        return (
            (not self.target or self.target in device.targets)
            and set(self.tags) <= set(device.tags)
            and self.name in {"", device.name}
            and self.host in {"", host}
            and self.kind in {"", "virtual" if device.virtual else "physical"}
        )

    @property
    def of_one(self) -> str:
        """The selector in its one spelling, without how many devices: equal for equal demands."""
        words = [
            *(f"{key}={value}" for key, value in self._fields() if value),
            *(f"tag={tag}" for tag in sorted(set(self.tags))),
        ]
        return ",".join(sorted(words))

    def _fields(self) -> tuple[tuple[str, str], ...]:
        return (
            ("target", self.target), ("name", self.name), ("host", self.host), ("kind", self.kind),
        )  # fmt: skip

    def __str__(self) -> str:
        many = "each" if self.count is None else "" if self.count == 1 else f"count={self.count}"
        return ",".join(filter(None, (self.of_one, many))) or "any device"


def parse_selector(text: str) -> Selector:
    """Read a selector; words are separated by commas or spaces.

    Raises:
        UsageError: a word is none of the known ones, or says the same thing twice.
    """
    found: dict[str, str] = {}
    tags = []
    for word in text.replace(",", " ").split():
        key, equals, value = word.partition("=")
        if word == "each":
            key, value = "count", ""
        elif not (equals and value) or key not in {
            "target",
            "tag",
            "name",
            "host",
            "kind",
            "count",
        }:
            raise UsageError(f"selector {text!r}: {word!r} is not known; allowed: {_KEYS}, each")
        if key == "tag":
            tags.append(value)
        elif key in found:
            raise UsageError(f"selector {text!r}: {key} is given twice")
        else:
            found[key] = value
    kind = found.get("kind", "")
    if kind not in ("", "physical", "virtual"):
        raise UsageError(f"selector {text!r}: kind={kind}; allowed: physical, virtual")
    return Selector(
        target=found.get("target", ""),
        tags=tuple(tags),
        name=found.get("name", ""),
        host=found.get("host", ""),
        kind=cast(Literal["", "physical", "virtual"], kind),
        count=_count(text, found.get("count", "1")),
    )


def _count(text: str, value: str) -> int | None:
    if value == "":
        return None
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value[:6]) <= MOST_DEVICES:
        raise UsageError(f"selector {text!r}: count={value}; allowed: 1 to {MOST_DEVICES}")
    return int(value)
