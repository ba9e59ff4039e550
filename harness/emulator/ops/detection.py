"""TFLite_Detection_PostProcess: boxes from a detector's encodings, without those that overlap."""

from dataclasses import dataclass

import numpy as np

from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    as_float32,
    define,
    required,
)
from harness.emulator.graph import Array

OP = "TFLite_Detection_PostProcess"
_MOST = 1 << 16


@dataclass(frozen=True)
class _Settings:
    """The op's own options, see `harness.emulator.formats.tflite_options`.

    Attributes:
        scales: of y, x, height and width in the encodings.
        regular: each class by itself; else the boxes by their best class.
    """

    detections: int
    classes_per_detection: int
    detections_per_class: int
    classes: int
    score: float
    overlap: float
    scales: tuple[float, float, float, float]
    regular: bool


def _settings(call: Call) -> _Settings:
    options = call.node.options
    try:
        found = _Settings(
            int(options["max_detections"]),
            int(options["max_classes_per_detection"]),
            int(options.get("detections_per_class", 100)),
            int(options["num_classes"]),
            float(options["nms_score_threshold"]),
            float(options["nms_iou_threshold"]),
            (
                float(options["y_scale"]),
                float(options["x_scale"]),
                float(options["h_scale"]),
                float(options["w_scale"]),
            ),
            bool(options.get("use_regular_nms", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NoDefinition(f"its options cannot be read: {error}") from None
    counts = (found.detections, found.classes_per_detection, found.detections_per_class)
    if not all(1 <= count <= _MOST for count in (*counts, found.classes)):
        raise CannotRun(f"its counts are {counts} and {found.classes} classes, allowed: 1 and more")
    if not 0 < found.overlap <= 1 or not all(found.scales):
        raise CannotRun(f"overlap {found.overlap}, scales {found.scales}")
    return found


@define([OP], ["float"])
def bind_detection(call: Call) -> Run:
    """(boxes, classes, scores, count). Places that no detection fills are 0; in the fast form the
    runtime leaves there what was in memory.

    Source: LiteRT kernels/detection_postprocess.cc.
    """
    settings = _settings(call)
    shapes = [tensor.shape if tensor else () for tensor in call.inputs]
    if len(shapes) != 3 or len(shapes[0]) != 3 or len(shapes[1]) != 3 or len(shapes[2]) != 2:
        raise CannotRun(f"inputs of shapes {shapes}")
    boxes, background = shapes[0][1], shapes[1][2] - settings.classes
    if shapes[1][1] != boxes or shapes[2][0] != boxes or background not in {0, 1}:
        raise CannotRun(f"inputs of shapes {shapes} for {settings.classes} classes")

    def real(values: Values, position: int) -> Array:
        return as_float32(call.input(position), required(values[position]))

    def run(values: Values) -> tuple[Array, ...]:
        encodings, anchors = real(values, 0)[0, :, :4], real(values, 2)
        corners = _decode(encodings, anchors, settings.scales)
        if np.any(corners[:, :2] > corners[:, 2:]):
            raise CannotRun("a box ends before it begins, which the runtime refuses")
        scores = real(values, 1)[0, :, background:]
        choose = _each_class if settings.regular else _best_class
        return _filled(corners, choose(corners, scores, settings), settings)

    return run


def _decode(encodings: Array, anchors: Array, scales: tuple[float, ...]) -> Array:
    """Corners (y, x, y, x) in float32 from centres and sizes, each computed in double."""
    code, anchor = encodings.astype(np.float64), anchors.astype(np.float64)
    scale = np.asarray(scales, np.float32).astype(np.float64)
    centre = (code[:, :2] / scale[:2] * anchor[:, 2:] + anchor[:, :2]).astype(np.float32)
    half = (0.5 * np.exp(code[:, 2:] / scale[2:]) * anchor[:, 2:]).astype(np.float32)
    return np.concatenate([centre - half, centre + half], axis=1)


def _overlaps(corners: Array, one: int, others: Array) -> Array:
    """Intersection over union of a box with others, in float32; 0 for boxes of no area."""
    sides = corners[:, 2:] - corners[:, :2]
    area = sides[:, 0] * sides[:, 1]
    low = np.maximum(corners[one, :2], corners[others, :2])
    high = np.minimum(corners[one, 2:], corners[others, 2:])
    inside = np.prod(np.maximum(high - low, np.float32(0)), axis=1, dtype=np.float32)
    union = area[one] + area[others] - inside
    valid = (area[others] > 0) & (area[one] > 0)
    return np.where(valid, inside / np.where(union == 0, 1, union), np.float32(0))


def _suppress(corners: Array, scores: Array, settings: _Settings, most: int) -> list[int]:
    """The boxes that are kept, best first: each drops those after it that overlap it too much."""
    kept = np.flatnonzero(scores >= np.float32(settings.score))
    waiting = kept[np.argsort(-scores[kept], kind="stable")]
    selected: list[int] = []
    while len(waiting) and len(selected) < most:
        best, waiting = int(waiting[0]), waiting[1:]
        selected.append(best)
        waiting = waiting[_overlaps(corners, best, waiting) <= np.float32(settings.overlap)]
    return selected


_Chosen = list[tuple[int, int, float]]
"""Box, class and score of each detection."""


def _best_class(corners: Array, scores: Array, settings: _Settings) -> _Chosen:
    """The fast form: boxes by their best class, each with its best classes."""
    count = min(settings.classes_per_detection, settings.classes)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    best = scores[np.arange(len(scores)), order[:, 0]]
    selected = _suppress(corners, best, settings, settings.detections)
    return [(box, int(c), float(scores[box, c])) for box in selected for c in order[box]]


def _each_class(corners: Array, scores: Array, settings: _Settings) -> _Chosen:
    """The regular form: every class by itself, then the best of all."""
    found: _Chosen = []
    for c in range(settings.classes):
        boxes = _suppress(corners, scores[:, c], settings, settings.detections_per_class)
        found += [(box, c, float(scores[box, c])) for box in boxes]
        found.sort(key=lambda one: -one[2])
        del found[settings.detections :]
    return found


def _filled(corners: Array, chosen: _Chosen, settings: _Settings) -> tuple[Array, ...]:
    per_box = 1 if settings.regular else min(settings.classes_per_detection, settings.classes)
    places = settings.detections * settings.classes_per_detection
    boxes = np.zeros((1, places, 4), np.float32)
    classes, scores = np.zeros((1, places), np.float32), np.zeros((1, places), np.float32)
    for place, (box, c, score) in enumerate(chosen[:places]):
        boxes[0, place], classes[0, place], scores[0, place] = corners[box], c, score
    return boxes, classes, scores, np.array([len(chosen) // per_box], np.float32)
