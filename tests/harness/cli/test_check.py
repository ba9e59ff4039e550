"""`edgefarm check`, and the placement in `edgefarm run`."""

from pathlib import Path

from tests.harness.cli.command import Edgefarm
from tests.harness.cli.conftest import Quantized


def test_placement_as_json_and_as_a_table(edgefarm: Edgefarm, quantized: Quantized) -> None:
    said = edgefarm("check", quantized.file, "--target", "host-litert", "--json")
    assert said.code == 0
    [one] = said.json["placement"]
    assert set(one) == {"node", "op", "output", "where", "why"}
    assert (one["node"], one["op"], one["where"]) == (0, "CONV_2D", "cpu")
    assert (said.json["runs"], said.json["fully_delegated"]) == (True, True)
    table = edgefarm("check", quantized.file, "--target", "host-litert")
    assert "1 on cpu" in table.out
    assert "XNNPACK" in table.out


def test_what_cannot_be_checked_names_the_remedy(edgefarm: Edgefarm, quantized: Quantized) -> None:
    chip = edgefarm("check", quantized.file, "--target", "host-litert", "--soc", "SM1")
    assert (chip.code, "leave out --soc" in chip.err) == (2, True)
    recipe = edgefarm("check", quantized.file, "--target", "host-executorch")
    assert recipe.code == 2
    assert "or lowers PyTorch models" in recipe.err


def test_a_partial_run_fails_where_full_delegation_is_required(
    edgefarm: Edgefarm, quantized: Quantized, tmp_path: Path
) -> None:
    asked = ["run", quantized.file, "--data", quantized.data, "--target", "host-litert", "--quick"]
    asked += ["--require-full-delegation", "--json", "--out", tmp_path]
    assert edgefarm(*asked).code == 0
    partial = edgefarm(*asked, "--kernels", "builtin")
    assert partial.code == 1
    assert "took 0 of 1 nodes" in partial.json["reasons"][0]
    assert partial.json["placement"]["left"] == []
