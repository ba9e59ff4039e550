"""Published models whose mapping by the compiler is known, rebuilt by structure.

What is rebuilt has the published ops, shapes and versions and no published byte. Sources of what
the compiler did: the compiled files of google-coral (MobileNetV1, the embedding extractor, the LSTM
and PoseNet); f0cal/google-coral issue 20 (Keras MobileNetV2); the executable in Coral's DeepLabV3,
as decoded by ricardodeazambuja/LibrEdgeTPU (it tells the kinds of ops that stay on the CPU, and
that they are eight); google-coral/edgetpu issue 560 (EfficientDet-Lite0). Of PoseNet the ops up to
the decoder, node 32, are known (google-coral/project-posenet issue 19), five more are not.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from harness.emulator.formats.tflite import read_tflite
from targets.edge_tpu.placing import predict
from tests.targets.edge_tpu import published

Build = Callable[[], bytes]

KNOWN: list[tuple[str, Build, int, dict[str, int]]] = [
    ("mobilenet_v1_0.25_128", lambda: published.mobilenet_v1(0.25, 128), 31, {}),
    ("mobilenet_v1_0.5_160", lambda: published.mobilenet_v1(0.5, 160), 31, {}),
    ("mobilenet_v1_0.75_192", lambda: published.mobilenet_v1(0.75, 192), 31, {}),
    ("mobilenet_v1_1.0 embedding extractor", published.embedding_extractor, 28, {}),
    ("keras_lstm_mnist_ptq", published.lstm_mnist, 6, {}),
    ("posenet 353x481", lambda: published.posenet(353, 481), 33, {"PosenetDecoderOp": 1}),
    ("posenet 481x641", lambda: published.posenet(481, 641), 33, {"PosenetDecoderOp": 1}),
    ("posenet 721x1281", lambda: published.posenet(721, 1281), 33, {"PosenetDecoderOp": 1}),
    ("Keras MobileNetV2", published.keras_mobilenet_v2, 72, {"QUANTIZE": 1, "DEQUANTIZE": 1}),
    (
        "DeepLabV3 head",
        published.deeplab_head,
        10,
        {"RESIZE_BILINEAR": 3, "CONCATENATION": 1, "CONV_2D": 2, "ARG_MAX": 1},
    ),
    (
        "detector tail",
        published.detector_tail,
        10,
        {"DEQUANTIZE": 2, "TFLite_Detection_PostProcess": 1},
    ),
]


@pytest.mark.parametrize(("name", "build", "ops", "on_cpu"), KNOWN, ids=[k[0] for k in KNOWN])
def test_the_predicted_mapping_is_what_the_compiler_did(
    name: str, build: Build, ops: int, on_cpu: dict[str, int]
) -> None:
    report = predict(read_tflite(build(), where=name).main)
    assert len(report.placement) == ops
    assert Counter(one.op for one in report.left_ops) == Counter(on_cpu), report.left_ops


def test_what_is_rebuilt_is_a_network_that_runs() -> None:
    """The runtime takes the files, so shapes and options fit each other."""
    for build in (lambda: published.mobilenet_v1(0.25, 128), published.lstm_mnist):
        runtime = Interpreter(
            model_content=build(), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        runtime.allocate_tensors()
        [given] = runtime.get_input_details()
        runtime.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
        runtime.invoke()
