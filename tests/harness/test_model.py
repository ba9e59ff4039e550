"""Models as the host describes them."""

from harness.model import Model, ModelOutput


def test_outputs_with_names_of_their_own_are_told_apart() -> None:
    outputs = (ModelOutput("logits", (1, 4), "float32"), ModelOutput("aux.0", (1,), "float32"))
    named = Model("m", "m", "", (), outputs=outputs)
    assert named.say_outputs(["out0", "out1"]) == ("outputs: out0 is logits, out1 is aux.0",)
    assert named.say_outputs(["logits", "aux.0"]) == ()
    plain = Model("m", "m", "", (), outputs=(ModelOutput("0", (1, 4), "float32"),))
    assert plain.say_outputs(["out0"]) == ()
