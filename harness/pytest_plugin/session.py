"""What a pytest process knows of its device tests: the current one, and the devices it holds."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from harness.errors import DeviceError, DevicesBusy, NoDevice, UsageError
from harness.pytest_plugin.outcomes import RETRIED

if TYPE_CHECKING:
    from farm.leases import Leased
    from farm.selection import Selector
    from harness.device import Device
    from harness.pytest_plugin.pool import Pool

MARKER = "device"
SIGNATURE = 'device(target="", tags=[], name="", kind="", count=1)'
_ARGUMENTS = ("target", "tags", "name", "kind", "count")

_T = TypeVar("_T")


class DeviceTests:
    """The device tests of one process; under xdist each worker has its own."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._item: pytest.Item | None = None
        self._pool: Pool | None = None
        self._noted: DeviceError | None = None

    def begin(self, item: pytest.Item) -> None:
        """Make a test the current one; if it is marked, hold its devices."""
        self._item = item
        if item.get_closest_marker(MARKER) is not None:
            self.hold()

    def end(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Give devices back at the end of a module, where that is the scope."""
        self._item = None
        module = item.getparent(pytest.Module)
        ends = following is None or following.getparent(pytest.Module) is not module
        if ends and self._pool is not None and self._config.option.edgefarm_scope == "module":
            self._pool.release()

    def close(self) -> None:
        """Give all devices back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def hold(self) -> "tuple[Leased, ...]":
        """The devices of the current test, held from now on; skips or fails it without them."""
        try:
            return self._hold()
        except (NoDevice, DevicesBusy) as error:
            if self._config.option.edgefarm_require:
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        except UsageError as error:
            pytest.fail(str(error), pytrace=False)

    def _hold(self) -> "tuple[Leased, ...]":
        selector = self.selector()
        if self._pool is None:
            self._pool = self._open_pool()
        return self._pool.hold(selector)

    def selector(self) -> "Selector":
        """What the current test's marker asks for."""
        marker = self._item.get_closest_marker(MARKER) if self._item else None
        if marker is None:
            pytest.fail(f"a test on a device needs the marker @pytest.mark.{SIGNATURE}", False)
        try:
            return read_marker(marker.args, marker.kwargs)
        except UsageError as error:
            pytest.fail(str(error), pytrace=False)

    def attempt(self, work: "Callable[[Leased], _T]", on: "Device | None" = None) -> _T:
        """Do work on the current test's device; what the machine fails at is tried again.

        Args:
            work: may be repeated.
            on: one of the held devices; None for the first, or for another one when that failed.
        """
        left = self._config.option.edgefarm_retries
        held = self._choose(self.hold(), on)
        while True:
            try:
                return work(held)
            except DeviceError as error:
                self.note(error, keep=on is not None)
                if left <= 0:
                    raise
                try:
                    held = self._choose(self._hold(), on)
                except (NoDevice, DevicesBusy):  # what the machine did must not end as a skip
                    raise error from None
                left -= 1
                if self._item is not None:
                    told = f"{type(error).__name__}: {error}"
                    self._item.user_properties.append((RETRIED, told))

    def note(self, error: DeviceError, *, keep: bool = False) -> None:
        """Take account of a device that failed: in the farm's database, and for what follows here.

        Args:
            error: what it did; told before, it is nothing new.
            keep: it stays with the test, which chose it.
        """
        if self._pool is None or error is self._noted:
            return
        self._noted = error
        self._pool.note(error)
        if not keep:
            self._pool.set_aside(error.device)

    def _choose(self, held: "tuple[Leased, ...]", on: "Device | None") -> "Leased":
        if on is None:
            return held[0]
        for one in held:
            if one.device.name == on.name:
                return one
        names = ", ".join(one.device.name for one in held)
        raise UsageError(f"device {on.name!r} is not held by this test, which holds: {names}")

    def _open_pool(self) -> "Pool":
        from harness.pytest_plugin.pool import Pool

        run = getattr(self._config, "workerinput", {}).get("testrunuid", "")
        options = self._config.option
        return Pool(options.edgefarm_devices, wait_s=options.edgefarm_wait_s, run=run)


def read_marker(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> "Selector":
    """The selector that a marker means.

    Raises:
        UsageError: an argument is not known or has a wrong value, or there is no such target. A
            mistake in the marker must not pass as a missing device.
    """
    from farm.selection import MOST_DEVICES, Selector
    from targets import get_target

    wrong = [repr(arg) for arg in args] + [name for name in kwargs if name not in _ARGUMENTS]
    if wrong:
        raise UsageError(f"marker device: {wrong[0]} is not known; allowed: {SIGNATURE}")
    tags = kwargs.get("tags", ())
    words = {name: kwargs.get(name, "") for name in ("target", "name", "kind")}
    count = kwargs.get("count", 1)
    if isinstance(tags, str) or not all(isinstance(word, str) for word in (*tags, *words.values())):
        raise UsageError("marker device: target, name and kind are words, tags a list of words")
    if words["kind"] not in {"", "physical", "virtual"}:
        raise UsageError(f"marker device: kind={words['kind']!r}; allowed: physical, virtual")
    if not isinstance(count, int) or not 1 <= count <= MOST_DEVICES:
        raise UsageError(f"marker device: count={count!r}; allowed: 1 to {MOST_DEVICES}")
    if words["target"]:
        get_target(words["target"])
    return Selector(tags=tuple(tags), count=count, **words)
