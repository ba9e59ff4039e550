"""The Edge TPU, assumed: its arithmetic is not published, and no device was at hand.

The reference kernels of LiteRT stand in, because the accelerator runs models that were quantized
for them. Users report differences beyond rounding for some convolutions, so nothing here is exact.
"""

from dataclasses import replace

from harness.arithmetic.profile import ArithmeticProfile, Evidence
from harness.emulator.profiles.litert_ref import LITERT_REF

EDGE_TPU = ArithmeticProfile(
    "edge-tpu",
    "Edge TPU, ASSUMED to compute as LiteRT's reference kernels do; its arithmetic is not public",
    tuple(
        replace(
            entry,
            evidence=Evidence.ASSUMED,
            reference=f"assumed equal to {entry.reference}",
            tried="nothing: no device; google-coral/edgetpu issues 288, 382, 460 report more",
        )
        for entry in LITERT_REF.entries
    ),
    assumed=True,
)
