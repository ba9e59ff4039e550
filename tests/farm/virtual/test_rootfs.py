from dataclasses import replace
from importlib.metadata import version

from farm.virtual.rootfs import SPECS


def test_the_board_runs_the_runtime_version_that_the_host_compares_with() -> None:
    assert f"ai-edge-litert=={version('ai-edge-litert')}" in SPECS["ai-edge-litert"].wheels


def test_a_changed_spec_is_another_folder() -> None:
    spec = SPECS["none"]
    assert replace(spec, packages=(*spec.packages, "file")).folder_name != spec.folder_name
    assert replace(spec).folder_name == spec.folder_name
