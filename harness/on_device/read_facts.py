"""Reads a device's facts with one shell script that asks Android, or any Linux, for all it has.

What a device says is untrusted: it is cut to short printable text and plain numbers, and what
cannot be read is None or empty.
"""

import math
import re

from harness.device import Transport
from harness.errors import DeviceError
from harness.facts import Facts

HEXAGONS = {
    "SM8350": "v68",
    "SM8450": "v69",
    "SM8475": "v69",
    "SM8550": "v73",
    "SM8650": "v75",
    "SM8750": "v79",
    "SM8850": "v81",
}
"""The Hexagon of a Qualcomm SoC."""
_PLATFORMS = {
    "lahaina": "SM8350",
    "taro": "SM8450",
    "kalama": "SM8550",
    "pineapple": "SM8650",
    "sun": "SM8750",
    "canoe": "SM8850",
}
"""Phones before Android 12 name their platform only."""

_CORES = {
    "0xd03": "cortex-a53",
    "0xd04": "cortex-a35",
    "0xd05": "cortex-a55",
    "0xd07": "cortex-a57",
    "0xd08": "cortex-a72",
    "0xd09": "cortex-a73",
    "0xd0a": "cortex-a75",
    "0xd0b": "cortex-a76",
    "0xd0d": "cortex-a77",
    "0xd41": "cortex-a78",
    "0xd44": "cortex-x1",
    "0xd46": "cortex-a510",
    "0xd47": "cortex-a710",
    "0xd48": "cortex-x2",
    "0xd4d": "cortex-a715",
    "0xd4e": "cortex-x3",
    "0xd80": "cortex-a520",
    "0xd81": "cortex-a720",
    "0xd82": "cortex-x4",
}
"""Arm's part numbers (MIDR_EL1), as Linux has them in ``asm/cputype.h``."""
CORES = tuple(sorted(_CORES.values()))
"""The names of cores that are known."""

_TIMEOUT_S = 60.0
_MOST_BYTES = 256 << 10
_SHOWN_CHARS = 120
_MOST_ENTRIES = 512
_SECTION = "== "

# Files are read by the shell itself: a process each would cost more than all else.
_SCRIPT = f"""
exec 2>/dev/null
value() {{ v=; read -r v <"$1"; }}
echo "{_SECTION}machine"; uname -m
echo "{_SECTION}properties"
if command -v getprop >/dev/null; then
  getprop | grep -E '^.ro.(product|soc|board|build|boot.qemu|kernel.qemu)'
fi
if command -v dumpsys >/dev/null; then
  echo "{_SECTION}battery"; dumpsys battery
  echo "{_SECTION}thermal"; dumpsys thermalservice
  echo "{_SECTION}power"; dumpsys power | grep mWakefulness=
fi
echo "{_SECTION}supply"
for d in /sys/class/power_supply/*; do
  value $d/type; [ "$v" = Battery ] || continue
  for key in capacity status temp; do value $d/$key && echo "$key=$v"; done
done
echo "{_SECTION}release"; cat /etc/os-release
echo "{_SECTION}model"; cat /proc/device-tree/model || cat /sys/class/dmi/id/product_name
echo
echo "{_SECTION}cpuinfo"; grep -E "^(Features|flags|CPU part)" /proc/cpuinfo | sort -u
echo "{_SECTION}disk"
d=$1; while [ -n "$d" ] && [ ! -d "$d" ]; do d=${{d%/*}}; done
df -Pk "${{d:-/}}" | tail -n 1
echo "{_SECTION}zones"
for d in /sys/class/thermal/thermal_zone*; do
  value $d/type; kind=$v; value $d/temp && echo "$v $kind"
done
echo "{_SECTION}cores"
for d in /sys/devices/system/cpu/cpu[0-9]*; do
  value $d/cpufreq/scaling_cur_freq && now=$v && value $d/cpufreq/scaling_governor && echo "$now $v"
done
"""


def read_facts(transport: Transport) -> Facts:
    """Ask a device for its facts.

    Raises:
        DeviceError: it has no shell that can tell; or see `Transport.run`.
    """
    device = transport.device
    ended = transport.run(
        ("sh", "-c", _SCRIPT, "sh", device.workdir),
        timeout_s=_TIMEOUT_S,
        max_output_bytes=_MOST_BYTES,
    )
    sections = _sections(ended.stdout.decode(errors="replace"))
    if "machine" not in sections:
        raise DeviceError(
            "the device does not tell its facts",
            device=device.name,
            exit_status=ended.exit_status,
            stderr=ended.stderr.decode(errors="replace"),
        )
    return parse_facts(sections)


def parse_facts(sections: dict[str, list[str]]) -> Facts:
    """Facts from the lines of each section of the script's output."""
    lines = {name: sections.get(name, []) for name in _NAMES}
    told = _pairs(lines["properties"], ": ")
    properties = {key.strip("[]"): value.strip("[]") for key, value in told.items()}
    release = _pairs(lines["release"], "=")
    android = properties.get("ro.build.version.release")
    soc = _soc(properties)
    model = " ".join(
        filter(None, (properties.get(f"ro.product.{key}") for key in ("manufacturer", "model")))
    )
    percent, charging, celsius = _battery(lines["battery"], _pairs(lines["supply"], "="))
    cores = [line.split() for line in lines["cores"] if re.fullmatch(r"[0-9]{1,9} \S+", line)]
    return Facts(
        machine=_first(lines["machine"]),
        model=model or _first(lines["model"]),
        os=f"Android {android} (SDK {properties.get('ro.build.version.sdk') or '?'})"
        if android
        else release.get("PRETTY_NAME", "").strip('"') or None,
        fingerprint=properties.get("ro.build.fingerprint") or None,
        abi=properties.get("ro.product.cpu.abi") or None,
        soc=soc,
        hexagon=HEXAGONS.get(soc or ""),
        emulated="1" in (properties.get("ro.boot.qemu"), properties.get("ro.kernel.qemu")),
        cores=_cores(lines["cpuinfo"]),
        cpu_features=_features(lines["cpuinfo"]),
        governor=cores[0][1] if cores else None,
        frequencies_khz=tuple(int(now) for now, _ in cores),
        free_bytes=_free_bytes(lines["disk"]),
        battery_percent=percent,
        charging=charging,
        battery_c=celsius,
        thermal_status=_whole(_pairs(lines["thermal"], ":").get("Thermal Status")),
        zones_c=_zones(lines["zones"]),
        screen_on=_screen(lines["power"]),
    )


_NAMES = (
    *("machine", "properties", "battery", "thermal", "power", "supply", "release", "model"),
    *("cpuinfo", "disk", "zones", "cores"),
)


def _sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        clean = "".join(c for c in line if c.isprintable()).strip()
        if line.startswith(_SECTION):
            current = found.setdefault(clean.removeprefix(_SECTION.strip()).strip(), [])
        elif clean:
            current.append(clean)
    return found


def _first(lines: list[str]) -> str | None:
    return lines[0][:_SHOWN_CHARS] if lines else None


def _pairs(lines: list[str], separator: str) -> dict[str, str]:
    """The first value of each key; later ones may be history."""
    pairs: dict[str, str] = {}
    for line in lines:
        key, found, value = line.partition(separator)
        if found:
            pairs.setdefault(key.strip(), value.strip()[:_SHOWN_CHARS])
    return pairs


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch("[0-9]{1,15}", text) else None


def _scaled(text: str | None, divisor: float) -> float | None:
    """A temperature in degrees; None for what no device has."""
    if text is None or not re.fullmatch("-?[0-9]{1,9}", text):
        return None
    degrees = int(text) / divisor
    return degrees if -60 <= degrees <= 200 else None


def _soc(properties: dict[str, str]) -> str | None:
    model = properties.get("ro.soc.model", "").upper()
    known = re.match("SM[0-9]{4}", model)
    if known:
        return known[0]
    platform = properties.get("ro.board.platform", "")
    return _PLATFORMS.get(platform) or model or platform or None


def _battery(
    dumped: list[str], supply: dict[str, str]
) -> tuple[int | None, bool | None, float | None]:
    """Percent, charging, degrees: of Android's service, else of the kernel."""
    told = _pairs(dumped, ":")
    level, scale = _whole(told.get("level")), _whole(told.get("scale")) or 100
    percent = _whole(supply.get("capacity")) if level is None else round(100 * level / scale)
    status = told.get("status") or supply.get("status")
    charging = None if status is None else status in {"2", "5", "Charging", "Full"}
    celsius = _scaled(told.get("temperature"), 10)
    return percent, charging, celsius if celsius is not None else _scaled(supply.get("temp"), 10)


def _cores(cpuinfo: list[str]) -> tuple[str, ...]:
    parts = (line.partition(":") for line in cpuinfo[:_MOST_ENTRIES])
    named = {value.strip()[:16] for key, _, value in parts if key.strip() == "CPU part"}
    return tuple(sorted(_CORES.get(part, part) for part in named))


def _features(cpuinfo: list[str]) -> tuple[str, ...]:
    for line in cpuinfo:
        key, _, value = line.partition(":")
        if key.strip() in {"Features", "flags"}:
            return tuple(word[:32] for word in value.split()[:_MOST_ENTRIES])
    return ()


def _free_bytes(lines: list[str]) -> int | None:
    """The fourth field of ``df -Pk``."""
    fields = lines[-1].split() if lines else []
    blocks = _whole(fields[3]) if len(fields) >= 6 else None
    return None if blocks is None else blocks << 10


def _zones(lines: list[str]) -> tuple[tuple[str, float], ...]:
    hottest: dict[str, float] = {}
    for line in lines[:_MOST_ENTRIES]:
        text, _, kind = line.partition(" ")
        degrees = _scaled(text, 1000)
        if degrees is not None:
            kind = kind[:_SHOWN_CHARS] or "?"
            hottest[kind] = max(degrees, hottest.get(kind, -math.inf))
    return tuple(sorted(hottest.items()))


def _screen(lines: list[str]) -> bool | None:
    for line in lines:
        if "mWakefulness=" in line:
            return line.partition("mWakefulness=")[2].startswith("Awake")
    return None
