"""The chips: Qualcomm's numbers and the architecture of their tensor processor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Soc:
    """A chip.

    Attributes:
        number: Qualcomm's, as LiteRT's compiler plug-in and the QNN libraries know it.
        arch: version of its Hexagon tensor processor.
    """

    number: int
    arch: int


SOCS = {
    "SM8350": Soc(30, 68),
    "SM8450": Soc(36, 69),
    "SM8475": Soc(42, 69),
    "SM8550": Soc(43, 73),
    "SM8650": Soc(57, 75),
    "SM8750": Soc(69, 79),
    "SM8845": Soc(97, 81),
    "SM8850": Soc(87, 81),
}
"""Snapdragon 888 to 8 Elite Gen 5. The numbers are those that the plug-in prints."""

_WHY_REFERENCE = (
    "the tensor processor requantizes by rules of its own: a convolution, an addition or a softmax "
    "is off by 1 LSB in a few percent of its elements, by more in channels whose bias saturates, "
    "and over the layers that adds up; "
    "so no CPU reference can stand in for it"
)
_WHY_GROUP = (
    "architectures v68 and v69 requantize some convolutions differently from v73 and later; "
    "within each group the emulator's results are the same"
)
_FIRST_OF_LATER = 73


def relatives(soc: str) -> tuple[tuple[str, str], ...]:
    """What is worth holding against a chip: LiteRT's reference kernels, and the other group."""
    early = SOCS[soc].arch < _FIRST_OF_LATER
    other = "SM8650" if early else "SM8350"
    return ("litert-ref", _WHY_REFERENCE), (f"htp@{other}", _WHY_GROUP)
