"""Models at the shapes where LiteRT's optimized kernels change from one to the next.

A draw of `tests.oracle.catalogue` meets these seldom or never.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.records import Promise
from tests.oracle import elementwise, models
from tests.oracle.build import Array, Builder, options, per_tensor
from tests.oracle.models import Model, Style
from tests.oracle.narrow_weights import narrow
from tests.oracle.runtimes import Answer

STYLES: tuple[Style, ...] = ("sharp", "ties", "random")
WINDOWS_OF_3 = (
    ((5, 6), (1, 1), "SAME"),
    ((5, 5), (2, 2), "SAME"),
    ((5, 6), (2, 2), "SAME"),
    ((6, 6), (2, 2), "SAME"),
    ((5, 6), (1, 1), "VALID"),
    ((1, 6), (1, 1), "SAME"),
    ((1, 1), (1, 1), "SAME"),
    ((5, 6), (1, 2), "SAME"),
)
"""Image, stride, padding."""
PAIRS_OF_SHAPES = (
    ((2, 3, 40), (2, 3, 40)),
    ((2, 3, 40), (3, 40)),
    ((2, 3, 40), (2, 1, 40)),
    ((2, 3, 40), (2, 3, 1)),
    ((2, 3, 40), (1,)),
    ((2, 3, 17, 1), (2, 3, 1, 1)),
    ((2, 1, 5, 20), (1, 3, 5, 20)),
    ((2, 3, 1, 9), (1, 3, 11, 9)),
    ((1, 3, 1, 4, 1), (2, 1, 3, 1, 5)),
    ((2, 1, 3, 1, 5, 1), (1, 4, 1, 2, 1, 9)),
)
ACTIVATIONS = ("NONE", "RELU", "RELU6")
DTYPES = (("int8", True), ("int8", False), ("uint8", False))


def one_column() -> Iterator[Model]:
    """CONV_2D and FULLY_CONNECTED to one pixel or row: around 4 outputs and a depth of 8."""
    seed = 0
    for dtype, per_channel in DTYPES:
        for depth, channels in ((7, 97), (8, 97), (8, 3), (8, 4), (33, 5)):
            for style in STYLES[:2]:
                seed += 1
                kind = {"dtype": dtype, "per_channel": per_channel, "style": style}
                yield models.conv(
                    seed, shape=(1, 1, 1, depth), channels=channels, kernel=(1, 1), **kind
                )
                yield models.fully_connected(
                    seed, batch=1, depth=depth, channels=channels, bias=True, **kind
                )


def narrow_columns() -> Iterator[Model]:
    """As `one_column`, by weights of 4 and 2 bits; biases of up to 2^30."""
    for number, (depth, channels) in enumerate(((7, 97), (8, 97), (8, 3), (8, 4), (36, 5))):
        for style, per_channel in product(STYLES[:2], (True, False)):
            kind = {"per_channel": per_channel, "style": style}
            shape = (1, 1, 1, depth)
            conv = models.conv(number, shape=shape, channels=channels, kernel=(1, 1), **kind)
            row = models.fully_connected(
                number, batch=1, depth=depth, channels=channels, bias=True, **kind
            )
            yield narrow(conv, "int4")
            yield from (narrow(row, dtype) for dtype in ("int4", "int2"))


def depthwise() -> Iterator[Model]:
    """Windows of 3 x 3 with and without a kernel of their own, around blocks of 8 channels."""
    seed = 0
    for dtype, per_channel in DTYPES:
        for channels in (7, 8, 64, 129):
            for shape, stride, padding in WINDOWS_OF_3:
                seed += 1
                yield models.depthwise(
                    seed,
                    shape=(2, *shape, channels),
                    stride=stride,
                    padding=padding,
                    dtype=dtype,
                    per_channel=per_channel,
                    style=STYLES[seed % 2],
                )


def dilated() -> Iterator[Model]:
    """Dilated windows of 3 x 3, which no kernel of their own takes."""
    for seed, (dtype, per_channel) in enumerate(DTYPES):
        yield models.depthwise(
            seed,
            shape=(2, 7, 7, 128),
            dilation=(2, 1),
            dtype=dtype,
            per_channel=per_channel,
            style="ties",
        )


def additions() -> Iterator[Model]:
    """ADD along every way to walk over two shapes; runs longer and shorter than a block."""
    for seed, (first, second) in enumerate(PAIRS_OF_SHAPES):
        for dtype in ("int8", "uint8"):
            for turned in (False, True):
                a, b = (second, first) if turned else (first, second)
                yield elementwise.binary("ADD", seed, shape=a, other=b, dtype=dtype)


def additions_beside_ties() -> Iterator[Model]:
    """ADD of halves and of a second input too small to count: it moves a tie by the last bits, or
    not, as it is rounded."""
    for dtype in ("int8", "uint8"):
        for first, second in (((3, 47), (3, 47)), ((3, 47), (3, 1)), ((5, 3, 47), (3, 47))):
            builder = Builder()
            zero = 0 if dtype == "int8" else 128
            a = builder.tensor(first, dtype, per_tensor(1.0, zero))
            b = builder.tensor(second, dtype, per_tensor(1.5 * 2.0**-25, zero))
            y = builder.tensor(first, dtype, per_tensor(2.0, zero))
            builder.op("ADD", [a, b], [y], options("Add", potScaleInt16=False))
            yield models.model(f"add-ties-{dtype}-{first}-{second}", builder, [a, b], [y])


_MULTIPLIERS = (0.4, 0.5, 0.51, 0.75, 1.0, 1.7, 6.3, 300.0)
_BEYOND = (40000.0, 3e6)


def products(multipliers: Sequence[float] = _MULTIPLIERS) -> Iterator[Model]:
    """MUL along every walk, with results that leave int16."""
    for seed, (first, second) in enumerate(PAIRS_OF_SHAPES):
        for number, multiplier in enumerate(multipliers):
            turned = (seed + number) % 2
            yield elementwise.product(
                100 * seed + number,
                shape=second if turned else first,
                other=first if turned else second,
                dtype=("int8", "uint8")[(seed + number // 2) % 2],
                multiplier=multiplier,
                activation="NONE" if multiplier > 100 else ACTIVATIONS[(seed + number) % 3],
            )


def means() -> Iterator[Model]:
    """MEAN beside the one reduction that has a kernel of its own, over axes of length 1 too."""
    for seed, (shape, axes) in enumerate(
        (
            ((1, 4, 4, 63), (1, 2)),
            ((3, 4, 8, 63), (2, 1)),
            ((2, 4, 1, 50), (1,)),
            ((2, 1, 1, 50), (1, 2)),
            ((1, 4, 5, 50), (0, 1, 2)),
            ((2, 4, 5, 1), (1, 2, 3)),
            ((4, 5, 50), (0, 1)),
        )
    ):
        for dtype in ("int8", "uint8"):
            for keep in (False, True):
                yield elementwise.reduce(
                    "MEAN",
                    seed,
                    shape=shape,
                    axes=axes,
                    keep_dims=keep,
                    dtype=dtype,
                    style="dyadic",
                )


BEYOND_REGISTERS = "mul beyond 32 bits"
"""Results that leave int32 when they are shifted to the left: equal here, promised nowhere."""
CHOICES = {
    "one-column": one_column,
    "one-column of narrow weights": narrow_columns,
    "depthwise": depthwise,
    "dilated": dilated,
    "add": additions,
    "add-ties": additions_beside_ties,
    "mean": means,
    "mul": products,
    BEYOND_REGISTERS: lambda: products(_BEYOND),
}


def inputs_of(model: Model) -> tuple[tuple[Array, ...], ...]:
    """Random ones, and all at the zero point, where the biases show alone."""
    return model.sample(0), model.extremes()[2]


def assert_exact(
    model: Model,
    inputs: tuple[Array, ...],
    answer: Answer,
    profile: str,
    promise: Promise = "exact",
) -> None:
    """The profile promises every output to be exact, and it is what the runtime answered."""
    assert answer.error == "", model.name
    graph = read_tflite(model.data).main
    emulation = emulate(graph, get_profile(profile), inputs)
    for output, got in zip(graph.outputs, emulation.outputs, strict=True):
        assert emulation.promises[output] == promise, model.name
        assert got is not None
        expected = answer.tensors[output].reshape(got.shape)
        np.testing.assert_array_equal(got, expected, err_msg=model.name)
