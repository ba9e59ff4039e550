"""What `check_device` says of good devices, poor devices, and devices that lie."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from farm.device_check import DeviceCheck, check_device
from farm.transports import connect
from harness.device import Address, Device, Transport


def found(check: DeviceCheck) -> dict[str, tuple[bool, str]]:
    return {item.name: (item.ok, item.found) for item in check.items}


def remedy(check: DeviceCheck, name: str) -> str:
    return next(item.remedy for item in check.items if item.name == name)


@pytest.fixture
def host(tmp_path: Path) -> Device:
    return Device("here", "local", workdir=str(tmp_path / "work"), python=sys.executable)


def test_a_board_that_is_well(cortex_a76: Device) -> None:
    check = check_device(cortex_a76, connect)
    items = found(check)
    assert check.ok, check
    assert items["host key"] == (True, str(cortex_a76.host_key))
    assert items["machine"] == (True, "aarch64")
    assert items["runtime litert"] == (True, "ai_edge_litert 2.3.0")
    assert items["python"][1].startswith("/usr/bin/python3 3.11")
    assert all(not item.remedy for item in check.items)


def test_a_board_with_busybox_alone(busybox_board: Device) -> None:
    items = found(check_device(busybox_board, connect))
    assert items["tools"] == (True, "all")
    assert items["sha256"] == (True, "sha256sum")
    assert items["python"] == (True, "none")


def test_executorch_need_not_be_on_a_board(cortex_a76: Device) -> None:
    items = found(check_device(cortex_a76, connect))
    assert items["runtime executorch"] == (True, "none; the native runner brings it")


def test_this_host(host: Device) -> None:
    check = check_device(host, connect)
    assert check.ok, check
    assert found(check)["connection"] == (True, "local")
    assert (Path(host.workdir).stat().st_mode & 0o777) == 0o700


def test_a_device_that_is_not_fit_for_its_targets(host: Device) -> None:
    target = ("arm-neon-litert",)
    unfit = replace(host, targets=target, python="/no/python", workdir="/proc/edgefarm")
    check = check_device(unfit, connect)
    assert not check.ok
    assert {name for name, (ok, _) in found(check).items() if not ok} == {
        *("machine", "work folder", "free space", "python", "runtime litert"),
    }
    assert remedy(check, "machine") == "its targets are for aarch64"
    assert "ai_edge_litert or tflite_runtime" in remedy(check, "runtime litert")


def test_devices_that_cannot_be_reached() -> None:
    away = Device("away", "ssh", address=Address("127.0.0.1", 1, "edge"), host_key="SHA256:x")
    for device, name in ((away, "connection"), (replace(away, host_key=None), "entry")):
        check = check_device(device, connect)
        assert [(item.name, item.ok) for item in check.items] == [(name, False)]
        assert remedy(check, name)


def test_another_host_key(cortex_a76: Device) -> None:
    changed = replace(cortex_a76, host_key="SHA256:" + "A" * 43)
    check = check_device(changed, connect)
    assert [item.name for item in check.items] == ["host key"]
    assert "edgefarm device remove" in remedy(check, "host key")


@pytest.mark.parametrize(
    "answer",
    [
        "import os; os.write(1, os.urandom(5000))",
        "print('package litert')",
        "print('python \\x1b[31mred')",
        "print('python ' + '9' * 10000)",
        "print('x' * 100000)",
    ],
)
def test_a_device_that_lies(host: Device, tmp_path: Path, answer: str) -> None:
    liar = tmp_path / "python"
    liar.write_text(f"#!{sys.executable}\n{answer}\n")
    liar.chmod(0o755)
    check = check_device(replace(host, python=str(liar)), connect)
    for item in check.items:
        assert item.found.isprintable()
        assert len(item.found) < 400


def test_a_connection_that_breaks_in_between(host: Device) -> None:
    @contextmanager
    def broken(device: Device) -> Iterator[Transport]:
        with connect(device) as transport:
            transport.close()
            yield transport

    check = check_device(host, broken)
    assert [(item.name, item.ok) for item in check.items] == [
        ("connection", True),
        ("connection", False),
    ]


def test_the_check_runs_nothing_of_the_current_folder(
    host: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("importlib", "platform", "json"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert found(check_device(host, connect))["python"][0]
    assert not (tmp_path / "was-run").exists()
