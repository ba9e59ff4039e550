"""What makes the phone's file system look like Android's to those who ask: properties, /sys.

A phone's ``vendor`` and ``sys`` are folders of its own, which the phone sees read-only. Whatever it
tells of itself is read there: to make it hot or its battery empty, write another number.
"""

import shutil
from pathlib import Path

from farm.virtual.settings import UID, link_commands, make_folder, write_file

DATA_BYTES = 1 << 30
"""Size of /data: in memory, and only as much of it as is used."""
FEATURES = "shell_v2,cmd,stat_v2,fixed_push_mkdir"
CORES = 2

_PROPERTIES = {
    "ro.boot.qemu": "1",
    "ro.build.characteristics": "emulator",
    "ro.build.fingerprint": "edgefarm/virtual/phone:14/EDGEFARM/1:userdebug/test-keys",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.product.brand": "edgefarm",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.device": "virtual",
    "ro.product.manufacturer": "edgefarm",
    "ro.product.model": "virtual phone",
    "ro.product.name": "edgefarm_virtual",
    "ro.soc.manufacturer": "QEMU",
}

_CPU = {
    "cpufreq/scaling_governor": "schedutil",
    "cpufreq/scaling_cur_freq": "1800000",
    "cpufreq/cpuinfo_max_freq": "2400000",
    "cpufreq/cpuinfo_min_freq": "300000",
    "cpufreq/scaling_max_freq": "2400000",
    "topology/physical_package_id": "0",
    "topology/core_id": "{index}",
    "topology/core_siblings_list": f"0-{CORES - 1}",
    "online": "1",
}
_SYS = {
    "class/power_supply/battery/capacity": "80",
    "class/power_supply/battery/status": "Charging",
    "class/power_supply/battery/temp": "250",
    "class/thermal/thermal_zone0/type": "skin",
    "class/thermal/thermal_zone0/temp": "31000",
    "class/backlight/panel0/brightness": "120",
    "devices/system/cpu/possible": f"0-{CORES - 1}",
    "devices/system/cpu/present": f"0-{CORES - 1}",
    "devices/system/cpu/online": f"0-{CORES - 1}",
    "devices/system/cpu/kernel_max": f"{CORES - 1}",
}

_GETPROP = """\
#!/system/bin/sh
# getprop [NAME [DEFAULT]]
while IFS= read -r line; do
  if [ $# = 0 ]; then echo "[${line%%=*}]: [${line#*=}]"; continue; fi
  if [ "${line%%=*}" = "$1" ]; then echo "${line#*=}"; exit; fi
done </vendor/build.prop
[ $# = 0 ] || echo "$2"
"""

# As much as is asked for, in the words of Android 14.
_DUMPSYS = """\
#!/system/bin/sh
# dumpsys battery|thermalservice|power
value() { read -r v <"$1"; echo "$v"; }
class=/sys/class
battery=$class/power_supply/battery
case "$1" in
battery)
  charging=false; status=3
  if [ "$(value $battery/status)" = Charging ]; then charging=true; status=2; fi
  echo "Current Battery Service state:"
  echo "  AC powered: $charging"
  echo "  USB powered: false"
  echo "  status: $status"
  echo "  present: true"
  echo "  level: $(value $battery/capacity)"
  echo "  scale: 100"
  echo "  temperature: $(value $battery/temp)"
  ;;
thermalservice)
  # Where Android's own defaults for the skin have it: light, moderate, severe, critical.
  skin=$(value $class/thermal/thermal_zone0/temp)
  status=0
  for limit in 39000 41000 43000 45000; do
    if [ "$skin" -ge $limit ]; then status=$((status + 1)); fi
  done
  echo "IsStatusOverride: false"
  echo "Thermal Status: $status"
  ;;
power)
  awake=Asleep
  if [ "$(value $class/backlight/panel0/brightness)" -gt 0 ]; then awake=Awake; fi
  echo "  mWakefulness=$awake"
  ;;
*)
  echo "Can't find service: $1" >&2
  ;;
esac
"""


def write_system(root: Path) -> None:
    """Finish a phone's shared root file system: Android's folders and commands."""
    for name in ("data", "dev", "proc", "sys", "system", "vendor"):
        make_folder(root / name)
    for name in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / name, ignore_errors=True)
    write_file(root / "etc/passwd", f"shell:x:{UID}:{UID}::/data/local/tmp:/system/bin/sh\n")
    write_file(root / "etc/group", f"shell:x:{UID}:\n")
    link_commands(root, "toybox", kept=("mksh", "toybox"))
    # The static build starts in half the time under QEMU, and a phone's life is starting shells.
    (root / "usr/bin/sh").symlink_to("../lib/aarch64-linux-musl/bin/mksh")
    (root / "system/bin").symlink_to("../usr/bin")
    for name, text in (("getprop", _GETPROP), ("dumpsys", _DUMPSYS)):
        write_file(root / "usr/bin" / name, text, 0o755)


def write_own(folder: Path) -> None:
    """Write what is one phone's own: its properties and its /sys."""
    lines = "".join(f"{key}={value}\n" for key, value in _PROPERTIES.items())
    write_file(make_folder(folder / "vendor") / "build.prop", lines)
    cpus = {
        f"devices/system/cpu/cpu{index}/{file}": text.format(index=index)
        for index in range(CORES)
        for file, text in _CPU.items()
    }
    for file, text in (_SYS | cpus).items():
        path = folder / "sys" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, f"{text}\n")


def banner() -> str:
    """How it presents itself to adb."""
    keys = ("ro.product.name", "ro.product.model", "ro.product.device")
    told = ";".join(f"{key}={_PROPERTIES[key]}" for key in keys)
    return f"{told};features={FEATURES}"
