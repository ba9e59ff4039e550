"""The profiles the emulator ships, one file per runtime. Each entry carries its evidence.

Other distributions add theirs through the entry-point group ``edgefarm.profiles``; each entry
points to an `ArithmeticProfile`.
"""

from harness.arithmetic.profile import ArithmeticProfile
from harness.emulator.profiles.edge_tpu import EDGE_TPU
from harness.emulator.profiles.executorch_xnnpack import EXECUTORCH_XNNPACK
from harness.emulator.profiles.litert_builtin import LITERT_BUILTIN_ARM, LITERT_BUILTIN_X86
from harness.emulator.profiles.litert_ref import LITERT_REF, LITERT_REF_ARM
from harness.emulator.profiles.litert_xnnpack import LITERT_XNNPACK
from harness.emulator.profiles.tflite_runtime_2_14 import TFLITE_RUNTIME_2_14_ARM
from harness.emulator.profiles.tflm import TFLM
from harness.errors import UsageError
from harness.host.plug_ins import with_additions

GROUP = "edgefarm.profiles"

PROFILES: dict[str, ArithmeticProfile] = {
    profile.name: profile
    for profile in (
        LITERT_REF,
        *LITERT_REF_ARM,
        LITERT_BUILTIN_X86,
        *LITERT_BUILTIN_ARM,
        *LITERT_XNNPACK,
        TFLITE_RUNTIME_2_14_ARM,
        TFLM,
        *EXECUTORCH_XNNPACK,
        EDGE_TPU,
    )
}


def all_profiles() -> dict[str, ArithmeticProfile]:
    """The table, and what installed distributions add to it.

    Raises:
        UsageError: one of those cannot be loaded, is no profile, or takes a name that is in use.
    """
    return with_additions(PROFILES, GROUP, ArithmeticProfile)


def get_profile(name: str) -> ArithmeticProfile:
    """The profile of that name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if name in PROFILES:
        return PROFILES[name]
    profiles = all_profiles()
    if name not in profiles:
        raise UsageError(f"profile {name!r}: no such profile; one of: {', '.join(profiles)}")
    return profiles[name]
