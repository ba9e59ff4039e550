"""What the bindings of the core share: kernels as functions of nodes, and how they refuse."""

from harness.emulator.core.kernels import Elementwise, Layer, Window
from harness.emulator.definitions import Values, required
from harness.emulator.graph import Array
from harness.emulator.ops.windows import Windows


class NotHere(Exception):
    """The core does not run this node."""


def require(holds: bool) -> None:
    """Refuse the node unless it holds."""
    if not holds:
        raise NotHere


class LayerRun:
    """A kernel over images as a `Run`; several nodes that follow each other make a plan
    (`core.plans`)."""

    arity = 1

    def __init__(self, kernel: Layer, shape: tuple[int, ...]) -> None:
        self.kernel = kernel
        self.shape = shape
        """Of one step's output."""

    def __call__(self, values: Values) -> tuple[Array]:
        """As a `Run`."""
        x = required(values[0])
        return (self.kernel.run(x, (len(x), *self.shape)),)


class ElementwiseRun:
    """A kernel over arrays of one shape as a `Run`; likewise."""

    def __init__(self, kernel: Elementwise, shape: tuple[int, ...], arity: int) -> None:
        self.kernel, self.shape, self.arity = kernel, shape, arity

    def __call__(self, values: Values) -> tuple[Array]:
        """As a `Run`."""
        return (self.kernel(*map(required, values[: self.arity])),)


class MatricesRun:
    """A kernel over pairs of matrices as a `Run`; likewise."""

    arity = 2

    def __init__(self, kernel: Elementwise, shape: tuple[int, ...]) -> None:
        self.kernel = kernel
        self.shape = shape
        """Of one step's output."""

    def __call__(self, values: Values) -> tuple[Array]:
        """As a `Run`."""
        arrays = [required(value) for value in values[:2]]
        return (self.kernel.run(arrays, (len(arrays[0]), *self.shape)),)


NodeRun = LayerRun | ElementwiseRun | MatricesRun
"""What a plan is made of."""


def window_of(windows: Windows, channels: tuple[int, int]) -> Window:
    """A definition's windows in the core's form; `channels` of the image and of the output."""
    height, width = windows.height, windows.width
    return Window(
        in_h=height.size,
        in_w=width.size,
        in_c=channels[0],
        out_h=height.output,
        out_w=width.output,
        out_c=channels[1],
        kernel_h=height.window,
        kernel_w=width.window,
        stride_h=height.stride,
        stride_w=width.stride,
        dilation_h=height.dilation,
        dilation_w=width.dilation,
        pad_top=height.before,
        pad_left=width.before,
    )
