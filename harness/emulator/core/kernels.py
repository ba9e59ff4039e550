"""Prepared kernels: constants packed once, run on batches of any size.

A kernel is made for one level and equals the definition of the same op. It is made with constants
and then called with arrays that the graph computes.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arithmetic.requantize import Requantization
from harness.emulator.core import _core, threads

Array = npt.NDArray[Any]
Kernel = Callable[[Array], Array]
LayerKernel = (
    _core.Convolution
    | _core.Depthwise
    | _core.Gelu
    | _core.HybridConvolution
    | _core.HybridDepthwise
    | _core.MaxPool
    | _core.Move
    | _core.Softmax
    | _core.WideConvolution
    | _core.WideDepthwise
)
"""Of one input and one output, each of a size of its own."""


@dataclass(frozen=True)
class Window:
    """A window that slides over an NHWC image. Sizes in elements, in the order `_core` takes."""

    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0


@dataclass(frozen=True)
class Terms:
    """``clip((first x1 + second x2 - … + 2^(shift - 1) >> shift) + zero point)``, as `_core` takes
    them; the zero points of the inputs are taken off first.
    """

    first: int
    second: int
    shift: int
    first_zero: int
    second_zero: int
    output_zero: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Layer:
    """Kernels that fill the same image together, each its channels; runs as a `Kernel`.

    Attributes:
        kernels: prepared; usually one.
        image: shape of an output image.
        input_dtype, dtype: of the input and the output.
        workers: how many threads.
    """

    kernels: tuple[LayerKernel, ...]
    image: tuple[int, int, int]
    input_dtype: str
    dtype: str
    workers: int

    def __call__(self, x: Array) -> Array:
        """As a `Kernel`."""
        return self.run(x, (len(x), *self.image))

    def run(self, x: Array, shape: tuple[int, ...]) -> Array:
        """The images of x, any number of them, as an array of that shape."""
        x, out = np.ascontiguousarray(x), np.empty(shape, self.dtype)
        for kernel in self.kernels:
            kernel(x, out, self.workers)
        return out


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A kernel over arrays of one shape, element by element.

    Attributes:
        kernels: prepared; one.
        input_dtype, dtype: of the inputs and the output.
        workers: how many threads.
    """

    kernels: tuple[
        _core.Addition | _core.Table | _core.PairTable | _core.Product | _core.WideAddition
    ]
    input_dtype: str
    dtype: str
    workers: int

    def __call__(self, *inputs: Array) -> Array:
        """The output for inputs of any one shape."""
        return self.run(inputs, inputs[0].shape)

    def run(self, inputs: Sequence[Array], shape: tuple[int, ...]) -> Array:
        """The output as an array of that shape."""
        out = np.empty(shape, self.dtype)
        kernel: Callable[..., None] = self.kernels[0]
        kernel(*map(np.ascontiguousarray, inputs), out, self.workers)
        return out


@dataclass(frozen=True, eq=False)
class Accumulation:
    """What a convolution, depthwise convolution or fully connected layer computes with.

    Attributes:
        weights: int8 or uint8, contiguous, in the file's layout.
        weight_zero: their zero point.
        bias: int32, one for each output channel, or None.
        input_dtype, input_zero: of the activations.
        output_dtype: ``int8`` or ``uint8``.
        requantization: from accumulators to the output.
    """

    weights: Array
    weight_zero: int
    bias: npt.NDArray[np.int32] | None
    input_dtype: str
    input_zero: int
    output_dtype: str
    requantization: Requantization


def make_convolution(level: str, window: Window, groups: int, layer: Accumulation) -> Layer:
    """CONV_2D; weights (outputs, height, width, inputs / groups).

    A fully connected layer is one with an image of a single pixel.

    Raises:
        ValueError: the kernel is not exact for these arguments, or they do not fit together.
    """
    prepared = _core.make_convolution(
        level,
        astuple(window),
        groups,
        np.ascontiguousarray(layer.weights),
        layer.weight_zero,
        None if layer.bias is None else np.ascontiguousarray(layer.bias),
        _boundary(layer),
        parameters_of(layer.requantization, window.out_c),
    )
    return _layer((prepared,), window, layer)


def make_depthwise(
    level: str,
    window: Window,
    layer: Accumulation,
    parts: Sequence[tuple[int, int, Requantization]] = (),
) -> Layer:
    """DEPTHWISE_CONV_2D with multiplier 1; weights (1, height, width, channels).

    Args:
        level: which kernels.
        window: of the image.
        layer: constants; the weights of all channels.
        parts: (first channel, last channel + 1, requantization), where a runtime requantizes the
            channels of its vectors' tail differently; default: all alike.

    Raises:
        ValueError: as for `make_convolution`.
    """
    prepared = tuple(
        _core.make_depthwise(
            level,
            astuple(window),
            first,
            last,
            np.ascontiguousarray(layer.weights),
            layer.weight_zero,
            None if layer.bias is None else np.ascontiguousarray(layer.bias),
            _boundary(layer),
            parameters_of(requantization, window.out_c),
        )
        for first, last, requantization in parts or ((0, window.in_c, layer.requantization),)
    )
    return _layer(prepared, window, layer)


def make_max_pool(window: Window, dtype: str) -> Layer:
    """MAX_POOL_2D of 8-bit images without its clamp: the largest value of each window, padding
    left out."""
    pool = _core.MaxPool(astuple(window), dtype == "uint8")
    return Layer((pool,), (window.out_h, window.out_w, window.out_c), dtype, dtype, threads())


def make_sum_pool(window: Window) -> Kernel:
    """The int32 sum of each window, padding left out.

    Raises:
        ValueError: the window is larger than the core takes.
    """
    image, workers, sizes = (window.out_h, window.out_w, window.out_c), threads(), astuple(window)
    none = np.empty((0, window.in_h, window.in_w, window.in_c), np.int8)
    _core.sum_pool(sizes, none, np.empty((0, *image), np.int32), workers)  # checks the window

    def run(x: Array) -> Array:
        out = np.empty((len(x), *image), np.int32)
        _core.sum_pool(sizes, np.ascontiguousarray(x), out, workers)
        return out

    return run


def make_addition(level: str, terms: Terms, dtype: str, output_dtype: str) -> Elementwise:
    """ADD and SUB of two 8-bit arrays of one shape and dtype.

    Raises:
        ValueError: a sum may leave 32 bits, or a value its type.
    """
    prepared = _core.make_addition(level, astuple(terms), dtype == "uint8", output_dtype == "uint8")
    return Elementwise((prepared,), dtype, output_dtype, threads())


def make_look_up(table: Array, dtype: str) -> Elementwise:
    """``table[x]`` for 8-bit x of that dtype; `table` is ordered by x's bits read as unsigned."""
    return Elementwise((_core.Table(table),), dtype, table.dtype.name, threads())


def make_look_up_pair(table: Array, dtype: str) -> Elementwise:
    """``table[256 * a + b]`` for 8-bit a and b of one shape, by their unsigned bits."""
    return Elementwise((_core.PairTable(table),), dtype, table.dtype.name, threads())


def _layer(
    kernels: tuple[_core.Convolution | _core.Depthwise, ...], window: Window, layer: Accumulation
) -> Layer:
    image = (window.out_h, window.out_w, window.out_c)
    return Layer(kernels, image, layer.input_dtype, layer.output_dtype, threads())


def _boundary(layer: Accumulation) -> _core.Boundary:
    return _core.Boundary(
        layer.input_dtype == "uint8", layer.input_zero, layer.output_dtype == "uint8"
    )


def parameters_of(requantization: Requantization, channels: int) -> _core.Parameters:
    """Requantization for C++, one value for each channel."""
    multiplier = np.broadcast_to(requantization.multiplier, (channels,))
    real = requantization.rounding in ("S4", "S5")
    return _core.Parameters(
        number=int(requantization.rounding[1:]),
        multiplier=[] if real else multiplier.tolist(),
        shift=[] if real else np.broadcast_to(requantization.shift, (channels,)).tolist(),
        scale=multiplier.tolist() if real else [],
        zero_point=requantization.zero_point,
        low=requantization.low,
        high=requantization.high,
    )
