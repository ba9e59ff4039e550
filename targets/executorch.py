"""What every target with ExecuTorch on CPU cores shares: recipes, and no profile yet."""

from harness.device import Device
from harness.protocol import Result

RECIPES = ("float", "dynamic_wi8_afp32", "static_wi8_ai8")


def executorch_profile(_device: Device, _result: Result) -> str | None:
    """None: the emulator does not read ``.pte`` files, so comparisons say "unknown"."""
    return None
