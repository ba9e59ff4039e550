"""The error tree: every error crosses processes unchanged, and is found by its class's name."""

import copy
import importlib
import pickle
import pkgutil
from typing import Any

import pytest

import farm
import harness
from harness.errors import (
    DeviceError,
    HarnessError,
    LeaseLost,
    ModelError,
    PhoneDisconnected,
    TransportError,
    error_class,
    is_kind,
)

_STARTS_SOMETHING = ("__main__",)


def every_error() -> list[type[HarnessError]]:
    """The whole tree, of every module that can be imported here."""
    for package in (harness, farm):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(_STARTS_SOMETHING):
                try:
                    importlib.import_module(module.name)
                except ImportError:  # of an extra that is not installed
                    continue
    found: list[type[HarnessError]] = [HarnessError]
    for one in found:
        found += [kind for kind in one.__subclasses__() if kind not in found]
    return [one for one in found if not one.__module__.startswith("tests.")]


def made(kind: type[HarnessError]) -> HarnessError:
    if issubclass(kind, DeviceError):
        return kind("broke", device="pi", argv=("a", "b"), exit_status=-9, stderr="no space")
    return kind("what, where")


def through_pickle(error: HarnessError) -> Any:
    return pickle.loads(pickle.dumps(error))  # noqa: S301  what this test has made itself


def test_every_error_can_be_pickled() -> None:
    tree = every_error()
    assert len(tree) > 20
    for kind in tree:
        error = made(kind)
        error.add_note("its folder was left")
        for back in (through_pickle(error), copy.copy(error)):
            assert type(back) is kind
            assert str(back) == str(error)
            assert repr(vars(back)) == repr(vars(error))


class _Placed(TransportError):
    """As a transport outside of this project might define one."""

    def __init__(self, place: str, *, device: str) -> None:
        self.place = place
        super().__init__(f"{place} went away", device=device)


def test_an_error_with_a_constructor_of_its_own_can_be_pickled() -> None:
    back = through_pickle(_Placed("shelf 3", device="pi"))
    assert (type(back), back.place, back.device) == (_Placed, "shelf 3", "pi")
    assert str(back) == "device pi: shelf 3 went away"


@pytest.mark.parametrize(
    ("kind", "of", "is_one"),
    [
        ("TransportError", TransportError, True),
        ("PhoneDisconnected", TransportError, True),
        ("PhoneDisconnected", LeaseLost, False),
        ("_Placed", TransportError, True),
        ("DeviceError", TransportError, False),
        ("ModelError", ModelError, True),
        ("Numeric", DeviceError, False),
    ],
)
def test_a_name_stands_for_its_class(kind: str, of: type[HarnessError], is_one: bool) -> None:
    assert is_kind(kind, of) is is_one


def test_a_name_finds_its_class() -> None:
    assert error_class("PhoneDisconnected") is PhoneDisconnected
    assert error_class("HarnessError") is HarnessError
    assert error_class("NoSuchError") is None


def test_what_a_device_says_is_safe_to_show() -> None:
    error = DeviceError("\x1b]0;owned\x07 broke", device="pi", stderr="\x1b[2J" + "x" * 10_000)
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    assert len(str(error)) < 3000
