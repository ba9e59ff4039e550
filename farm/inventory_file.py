"""The shape of ``farm.toml``: its tables and keys, and what their absence means."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from farm import phones
from farm.labgrid import LabgridTable
from harness.device import Address, Device, RunPolicy, TransportKind
from harness.errors import UsageError
from harness.on_device.pinning import pin_to
from harness.on_device.read_facts import CORES

_WORKDIR = Device("", "local").workdir
_POLICY = RunPolicy()


def check_core(core: str | None) -> None:
    """Raise UsageError unless a core's name is known: kernels, and so promises, go by it."""
    if core is not None and core not in CORES:
        raise UsageError(f"core {core!r} is not known; allowed: {', '.join(CORES)}")


class Entry(BaseModel):
    """A device's table: `Device` and its `Address` in one, as a person writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    transport: TransportKind
    targets: list[str] = []
    host: str = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str = ""
    key_file: str | None = None
    serial: str | None = None
    host_key: Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")] | None = None
    tags: list[str] = []
    virtual: bool = False
    core: str | None = None
    workdir: Annotated[str, Field(pattern=r"^/.*[^/]$")] | None = None
    python: Annotated[str, Field(description="empty: the device has none")] | None = None
    min_battery_percent: Annotated[int, Field(ge=0, le=100)] = _POLICY.min_battery_percent
    max_temperature_c: Annotated[float, Field(gt=0, le=150)] | None = None
    cooldown_s: Annotated[float, Field(ge=0, le=86_400)] = _POLICY.cooldown_s
    cpus: str | None = None
    reboot: Annotated[
        list[str], Field(description="command that reboots it, when its probes fail")
    ] = []

    @field_validator("core")
    @classmethod
    def _is_a_core(cls, core: str | None) -> str | None:
        try:
            check_core(core)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return core

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if self.transport == "ssh" and not self.host:
            raise ValueError("transport ssh needs a host")
        if self.transport == "adb" and not (self.serial or self.host):
            raise ValueError("transport adb needs a serial, or a host and a port")
        try:
            pin_to(self.cpus)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    def device(self, name: str) -> Device:
        """The entry as the rest of the program knows it."""
        workdir, python = defaults(self.transport)
        return Device(
            name=name,
            transport=self.transport,
            targets=tuple(self.targets),
            address=Address(self.host, self.port, self.user, self.key_file, self.serial),
            host_key=self.host_key,
            tags=tuple(self.tags),
            virtual=self.virtual,
            core=self.core,
            workdir=self.workdir or workdir,
            python=(python if self.python is None else self.python) or None,
            policy=RunPolicy(
                self.min_battery_percent,
                self.max_temperature_c,
                self.cooldown_s,
                self.cpus,
                tuple(self.reboot),
            ),
        )


def defaults(transport: TransportKind) -> tuple[str, str]:
    """Working folder and Python of an entry that does not name them."""
    return (phones.WORKDIR, "") if transport == "adb" else (_WORKDIR, "python3")


class Host(BaseModel):
    """``[hosts.NAME]``: a lab host, the NAME of its worker's --host."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    devices: Annotated[list[str], Field(description="names of those attached to it")]


class GoldenTable(BaseModel):
    """``[golden]``: a quantized model that tells whether a device can be trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: Annotated[str, Field(pattern=r"\.tflite$")]
    data: Annotated[str, Field(pattern=r"\.npz$")]


class InventoryFile(BaseModel):
    """All tables of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    golden: GoldenTable | None = None
    hosts: dict[str, Host] = {}
    devices: dict[str, Entry] = {}
    labgrid: LabgridTable | None = None

    def places(self) -> list[str]:
        """The names of the devices that are labgrid's."""
        return [] if self.labgrid is None else list(self.labgrid.host_keys)
