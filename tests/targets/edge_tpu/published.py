"""Published models, rebuilt from their architecture: the same ops, shapes, dtypes and versions.

They are not the published files: weights are zeros, biases a pattern, and names other ones. The
architectures are those of MobileNetV1 (arXiv 1704.04861) and V2 (1801.04381), PoseNet on
MobileNetV1 with output stride 16, DeepLabV3 (1706.05587), and Keras's LSTM on rows of MNIST.
"""

from collections.abc import Sequence

import numpy as np

from tests.oracle.build import Builder, Quant, options, per_tensor

_QUANT = per_tensor(0.05, 3)
_SAME, _VALID, _RELU6 = 0, 1, 3
_INT8 = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4, "LOGISTIC": 2, "MEAN": 2, "PAD": 2, "RESIZE_BILINEAR": 2, "SOFTMAX": 2,
}  # fmt: skip
"""Versions that TensorFlow writes for int8; uint8 files carry 1."""


class Net:
    """A network in the making; `last` is the tensor that the next op takes."""

    def __init__(self, shape: Sequence[int], dtype: str, *, float_input: bool = False) -> None:
        self.builder, self.dtype = Builder(), dtype
        self.last = self.first = self.builder.tensor(
            shape, "float32" if float_input else dtype, None if float_input else _QUANT
        )
        if float_input:
            self.op("QUANTIZE", shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.builder.tensors[self.last].shape)

    def op(
        self,
        name: str,
        shape: Sequence[int],
        constants: Sequence[int] = (),
        chosen: object = None,
        *,
        dtype: str | None = None,
        takes: Sequence[int] | None = None,
    ) -> int:
        """Add an op behind `takes`, the last tensor as a rule; its output, the new last."""
        dtype = dtype or self.dtype
        quant = self.probability() if name in ("SOFTMAX", "LOGISTIC") else _QUANT
        made = self.builder.tensor(shape, dtype, quant if dtype == self.dtype else None)
        version = _INT8.get(name, 1) if self.dtype == "int8" else 1
        sources = [self.last] if takes is None else takes
        self.builder.op(name, [*sources, *constants], [made], chosen, version=version)
        self.last = made
        return made

    def probability(self) -> Quant:
        """Of an output from 0 to 1, as the runtime wants it."""
        return per_tensor(1 / 256, -128 if self.dtype == "int8" else 0)

    def flatten(self, shape: Sequence[int]) -> int:
        return self.op("RESHAPE", shape, [self.integers(shape)], options("Reshape", newShape=shape))

    def integers(self, values: Sequence[int]) -> int:
        return self.builder.constant(values, "int32")

    def weighted(self, name: str, weights: Sequence[int], channels: int) -> list[int]:
        """Weights, for int8 with a scale a channel, and a bias."""
        scales = channels if self.dtype == "int8" and name != "FULLY_CONNECTED" else 1
        quant = Quant((0.01,) * scales, (0,) * scales, 3 if name.startswith("DEPTH") else 0)
        made = self.builder.constant(np.zeros(weights), self.dtype, quant)
        bias = np.arange(channels) * 97 % 4001
        return [made, self.builder.constant(bias, "int32", per_tensor(0.0005))]

    def conv(self, channels: int, *, kernel: int = 1, stride: int = 1) -> int:
        _, height, width, depth = self.shape
        chosen = options(
            "Conv2D", padding=_SAME, strideW=stride, strideH=stride, dilationWFactor=1,
            dilationHFactor=1, fusedActivationFunction=_RELU6,
        )  # fmt: skip
        weights = self.weighted("CONV_2D", (channels, kernel, kernel, depth), channels)
        shape = (1, -(-height // stride), -(-width // stride), channels)
        return self.op("CONV_2D", shape, weights, chosen)

    def depthwise(self, *, stride: int = 1, dilation: int = 1, valid: bool = False) -> int:
        _, height, width, depth = self.shape
        chosen = options(
            "DepthwiseConv2D", padding=_VALID if valid else _SAME, strideW=stride, strideH=stride,
            depthMultiplier=1, dilationWFactor=dilation, dilationHFactor=dilation,
            fusedActivationFunction=_RELU6,
        )  # fmt: skip
        sides = [-(-(side - 2 if valid else side) // stride) for side in (height, width)]
        weights = self.weighted("DEPTHWISE_CONV_2D", (1, 3, 3, depth), depth)
        return self.op("DEPTHWISE_CONV_2D", (1, *sides, depth), weights, chosen)

    def pool(self) -> int:
        """Average each channel over the whole image."""
        _, height, width, depth = self.shape
        chosen = options(
            "Pool2D", padding=_VALID, filterHeight=height, filterWidth=width, strideH=1, strideW=1
        )
        return self.op("AVERAGE_POOL_2D", (1, 1, 1, depth), (), chosen)

    def resize(self, height: int, width: int) -> int:
        shape = (1, height, width, self.shape[3])
        chosen = options("ResizeBilinear", alignCorners=True)
        return self.op("RESIZE_BILINEAR", shape, [self.integers([height, width])], chosen)

    def join(self, *parts: int) -> int:
        depth = sum(int(self.builder.tensors[part].shape[3]) for part in parts)
        shape, chosen = (*self.shape[:3], depth), options("Concatenation", axis=3)
        return self.op("CONCATENATION", shape, (), chosen, takes=parts)

    def dense(self, channels: int) -> int:
        weights = self.weighted("FULLY_CONNECTED", (channels, self.shape[-1]), channels)
        return self.op("FULLY_CONNECTED", (1, channels), weights, options("FullyConnected"))

    def softmax(self) -> int:
        return self.op("SOFTMAX", self.shape, (), options("Softmax", beta=1.0))

    def custom(self, name: str, shapes: Sequence[Sequence[int]], takes: Sequence[int]) -> list[int]:
        """A custom op with float outputs."""
        made = [self.builder.tensor(shape, "float32") for shape in shapes]
        self.builder.op("CUSTOM", takes, made)
        code = self.builder.codes[-1]
        code.customCode = name
        return made

    def finish(self, outputs: Sequence[int] = ()) -> bytes:
        return self.builder.finish([self.first], outputs or [self.last])


def _channels(width: float, count: int) -> int:
    """Slim's rounding: to a multiple of 8, and not less than nine tenths."""
    rounded = max(8, int(width * count + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width * count else rounded


_BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 5)


def _mobilenet_v1_body(net: Net, width: float, *, strides: tuple[int, int] = (2, 1)) -> None:
    net.conv(_channels(width, 32), kernel=3, stride=2)
    last = zip(strides, (1024, 1024), strict=True)
    for stride, channels in (*_BLOCKS, *last):
        net.depthwise(stride=stride)
        net.conv(_channels(width, channels))


def mobilenet_v1(width: float, size: int) -> bytes:
    net = Net((1, size, size, 3), "uint8")
    _mobilenet_v1_body(net, width)
    net.pool()
    net.conv(1001)
    net.flatten((1, 1001))
    net.softmax()
    return net.finish()


def embedding_extractor() -> bytes:
    """MobileNetV1 1.0 up to its pooled features."""
    net = Net((1, 224, 224, 3), "uint8")
    _mobilenet_v1_body(net, 1.0)
    net.pool()
    return net.finish()


def posenet(height: int, width: int) -> bytes:
    net = Net((1, height, width, 3), "uint8")
    _mobilenet_v1_body(net, 0.75, strides=(1, 1))
    body, heads = net.last, []
    for channels in (17, 34, 32, 32):
        net.last = body
        heads.append(net.conv(channels))
    joined = net.join(*heads[2:])
    shapes = ((1, 20, 17, 2), (1, 20, 17), (1, 20), ())
    return net.finish(net.custom("PosenetDecoderOp", shapes, [*heads[:2], joined]))


def lstm_mnist() -> bytes:
    """28 rows of 28 pixels, an LSTM of 20 cells, and its last output classified."""
    net = Net((1, 28, 28), "uint8")
    net.dtype = "int8"
    rows = net.op("QUANTIZE", (1, 28, 28))
    places = [-1] * 24
    for gate in range(4):
        places[1 + gate] = net.builder.constant(np.zeros((20, 28)), "int8", per_tensor(0.01))
        places[5 + gate] = net.builder.constant(np.zeros((20, 20)), "int8", per_tensor(0.01))
        places[12 + gate] = net.builder.constant(np.zeros(20), "int32", per_tensor(1e-4))
    places[18] = net.builder.tensor((1, 20), "int8", per_tensor(0.008), variable=True)
    places[19] = net.builder.tensor((1, 20), "int16", per_tensor(2.0**-11), variable=True)
    net.last = net.builder.tensor((1, 28, 20), "int8", per_tensor(0.008))
    inside = [net.builder.tensor((1,), "int16", per_tensor(2.0**-12)) for _ in range(4)]
    inside.append(net.builder.tensor((1,), "int8", per_tensor(0.008)))
    net.builder.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", [rows, *places[1:]], [net.last],
        options("UnidirectionalSequenceLSTM", fusedActivationFunction=4), intermediates=inside,
    )  # fmt: skip
    corners = [net.integers(place) for place in ((0, 27, 0), (1, 28, 20), (1, 1, 1))]
    net.op("STRIDED_SLICE", (1, 20), corners, options("StridedSlice", shrinkAxisMask=2))
    net.dense(10)
    net.softmax()
    made = net.builder.tensor((1, 10), "uint8", _QUANT)
    net.builder.op("QUANTIZE", [net.last], [made])
    return net.finish([made])


_INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip


def keras_mobilenet_v2() -> bytes:
    """Keras's MobileNetV2 quantized by TensorFlow 2, with its float input and output."""
    net = Net((1, 224, 224, 3), "int8", float_input=True)
    _pad(net)
    net.conv(32, kernel=3, stride=2)
    for expansion, channels, count, first_stride in _INVERTED:
        for index in range(count):
            stride, before = (first_stride if index == 0 else 1), net.last
            if expansion > 1:
                net.conv(net.shape[3] * expansion)
            if stride == 2:
                _pad(net)
            net.depthwise(stride=stride, valid=stride == 2)
            net.conv(channels)
            if stride == 1 and index:
                net.op("ADD", net.shape, (), takes=[before, net.last])
    net.conv(1280)
    net.op("MEAN", (1, 1280), [net.integers([1, 2])], options("Reducer"))
    net.dense(1000)
    net.softmax()
    net.op("DEQUANTIZE", (1, 1000), dtype="float32")
    return net.finish()


def _pad(net: Net) -> None:
    _, height, width, depth = net.shape
    amounts = net.builder.constant([[0, 0], [0, 1], [0, 1], [0, 0]], "int32")
    net.op("PAD", (1, height + 1, width + 1, depth), [amounts])


def deeplab_head() -> bytes:
    """What is behind the body of DeepLabV3 without further atrous branches: two branches, one of
    them pooled, joined, classified and enlarged to the image."""
    net = Net((1, 33, 33, 320), "uint8")
    body = net.last
    net.pool()
    net.conv(256)
    pooled = net.resize(33, 33)
    net.last = body
    net.join(pooled, net.conv(256))
    net.conv(256)
    net.conv(21)
    net.resize(33, 33)
    net.resize(513, 513)
    shape = net.shape[:3]
    made = net.builder.tensor(shape, "int64")
    net.builder.op("ARG_MAX", [net.last, net.integers([3])], [made], options("ArgMax"))
    return net.finish([made])


def detector_tail() -> bytes:
    """The end of a detector: two heads, each flattened and dequantized, and the custom op that
    picks the boxes."""
    net = Net((1, 20, 20, 64), "int8")
    body, parts = net.last, []
    for channels, values in ((36, 4), (810, 90)):
        net.last = body
        net.depthwise()
        net.conv(channels)
        net.flatten((1, 3600, values))
        if values == 90:
            net.op("LOGISTIC", net.shape)
        parts.append(net.op("DEQUANTIZE", net.shape, dtype="float32"))
    anchors = net.builder.constant(np.zeros((3600, 4)), "float32")
    shapes = ((1, 25, 4), (1, 25), (1, 25), (1,))
    return net.finish(net.custom("TFLite_Detection_PostProcess", shapes, [*parts, anchors]))
