"""Which output is held against the labels, known from shapes alone."""

import numpy as np
import pytest

from harness.errors import UsageError
from harness.judge.scoring import OutputShape, Scored, scored_output

CLASSES_10 = np.arange(20) % 10


def test_the_fewest_classes_that_hold_all_labels_are_chosen() -> None:
    outputs = (OutputShape((512,)), OutputShape((4, 4)), OutputShape((10,)), OutputShape((1,)))
    found = scored_output(outputs, CLASSES_10, 20)
    assert found == Scored(2, "scores", "output 2 of 4: 10 classes")


def test_of_equals_the_first_is_chosen_and_it_is_said() -> None:
    found = scored_output((OutputShape((10,)), OutputShape((1, 1, 10))), CLASSES_10, 20)
    assert found is not None
    assert found.output == 0
    assert found.why == "output 0 of 2: 10 classes, the first of 2 that fit the labels"


def test_scores_come_before_integers() -> None:
    """The values of a top-k come with the numbers of their classes."""
    outputs = (OutputShape((10,), real=False), OutputShape((100,)))
    found = scored_output(outputs, CLASSES_10, 20)
    assert found is not None
    assert found.output == 1


def test_one_value_a_sample() -> None:
    binary = np.array([0, 1, 1])
    assert scored_output((OutputShape(()),), binary, 3) == Scored(
        0, "binary", "the output: one score for class 1"
    )
    assert scored_output((OutputShape((1,), real=False),), CLASSES_10, 20) == Scored(
        0, "classes", "the output: the class's number"
    )


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ((OutputShape((4,)), OutputShape((7,))), "outside the model's 4 or 7 classes (0 to 6)"),
        ((OutputShape(()),), "outside the model's 2 classes (0 to 1)"),
        ((OutputShape((8, 8, 3)),), "can be held against no output; its outputs have the shapes"),
        ((OutputShape((0,)),), "can be held against no output"),
    ],
)
def test_labels_that_fit_no_output_are_the_callers_mistake(
    outputs: tuple[OutputShape, ...], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        scored_output(outputs, CLASSES_10, 20)
    assert "class 9 of sample 9" in str(raised.value)
    assert said in str(raised.value)


def test_without_labels_the_first_output_with_several_scores_is_compared() -> None:
    outputs = (OutputShape(()), OutputShape((3, 3)), OutputShape((5,)))
    found = scored_output(outputs, None, 4)
    assert found is not None
    assert found.output == 2
    assert scored_output(outputs[:2], None, 4) is None
