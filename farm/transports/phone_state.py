"""States that a phone can be in for adb, other than ready, and what to do about each."""

from dataclasses import dataclass
from typing import Literal

from harness.errors import (
    PhoneDisconnected,
    PhoneNotBooted,
    PhoneNotPermitted,
    PhoneNotReady,
    PhoneOffline,
    PhoneUnauthorized,
)

Policy = Literal["wait", "reconnect", "ask"]
"""``wait``: it passes; ``reconnect``: a new connection may mend it; ``ask``: a person must act."""

READY = "device"


@dataclass(frozen=True)
class PhoneState:
    """A state in which a phone takes no commands.

    Attributes:
        name: adb's word for it.
        meaning: what it means.
        policy: what may end it.
        remedy: what a person can do.
    """

    name: str
    meaning: str
    policy: Policy
    remedy: str


_STATES = (
    PhoneState(
        "disconnected",
        "adb does not see it",
        "reconnect",
        "plug it in or join it to the network and switch USB debugging on; ours does not see a "
        "phone on USB that another adb server holds (see EDGEFARM_ADB_PORT)",
    ),
    PhoneState(
        "offline",
        "it is connected but does not answer",
        "reconnect",
        "wake it up; if it stays so, switch USB debugging off and on, or restart it",
    ),
    PhoneState("connecting", "adb is connecting to it", "wait", "wait, then try again"),
    PhoneState("authorizing", "adb is showing it our key", "wait", "wait, then try again"),
    PhoneState(
        "unauthorized",
        "it has not accepted this host's key",
        "ask",
        "unlock its screen and accept the key of this host, for always",
    ),
    PhoneState(
        "no permissions",
        "this user may not open its USB device",
        "ask",
        "add a udev rule for its vendor (Debian: apt-get install "
        "android-sdk-platform-tools-common) and put this user into the group plugdev",
    ),
    PhoneState("recovery", "it is in recovery mode", "ask", "restart it: adb -s SERIAL reboot"),
    PhoneState("rescue", "it is in rescue mode", "ask", "restart it by its keys"),
    PhoneState("sideload", "it waits for an update", "ask", "restart it by its keys"),
    PhoneState("bootloader", "it is in its bootloader", "ask", "restart it: fastboot reboot"),
)


_ERRORS: dict[str, type[PhoneNotReady]] = {
    "disconnected": PhoneDisconnected,
    "offline": PhoneOffline,
    "unauthorized": PhoneUnauthorized,
    "no permissions": PhoneNotPermitted,
    "recovery": PhoneNotBooted,
    "rescue": PhoneNotBooted,
    "sideload": PhoneNotBooted,
    "bootloader": PhoneNotBooted,
}


def not_ready(state: PhoneState, *, device: str, serial: str) -> PhoneNotReady:
    """The error of a state; one that passes, or that is not known here, has none of its own."""
    remedy = state.remedy.replace("SERIAL", serial)
    return _ERRORS.get(state.name, PhoneNotReady)(
        f"phone {serial} is {state.name}: {state.meaning}; {remedy}", device=device
    )


def state_of(word: str) -> PhoneState | None:
    """The state that adb names so; None for a ready phone.

    adb adds an explanation to some words, and newer ones have words that are not known here.
    """
    if word == READY:
        return None
    for state in _STATES:
        if word.startswith(state.name):
            return state
    return PhoneState(word, "a state that is not known here", "ask", "restart it")
