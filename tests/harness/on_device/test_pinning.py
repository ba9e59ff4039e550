import pytest

from harness.errors import UsageError
from harness.on_device.pinning import pin_to


@pytest.mark.parametrize(
    ("cpus", "mask"),
    [("0", "1"), ("4-7", "f0"), ("0,4-5", "31"), ("255", f"{1 << 255:x}"), ("3-3", "8")],
)
def test_a_mask_that_every_taskset_takes(cpus: str, mask: str) -> None:
    assert pin_to(cpus) == ("taskset", mask)
    assert pin_to(None) == ()


@pytest.mark.parametrize("cpus", ["", "a", "7-4", "256", "1,", "-1", "0-999", "1 2", "0x3"])
def test_what_is_no_list_of_cores(cpus: str) -> None:
    with pytest.raises(UsageError, match="0,4-7"):
        pin_to(cpus)
