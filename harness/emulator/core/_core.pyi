"""Types of the C++ module; src/module.cpp is its source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[Any]
Int32 = npt.NDArray[np.int32]

def best_level() -> str: ...
def has_level(name: str) -> bool: ...

class Boundary:
    def __init__(self, input_unsigned: bool, input_zero: int, output_unsigned: bool) -> None: ...

class Parameters:
    def __init__(
        self,
        number: int,
        multiplier: Sequence[int],
        shift: Sequence[int],
        scale: Sequence[float],
        zero_point: int,
        low: int,
        high: int,
    ) -> None: ...

class Convolution:
    @property
    def packed_bytes(self) -> int: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int) -> None: ...

class Depthwise:
    @property
    def packed_bytes(self) -> int: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int) -> None: ...

class Chain:
    def __init__(self, links: Sequence[Sequence[Convolution | Depthwise]]) -> None: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int, ns: npt.NDArray[np.int64]) -> None: ...

class Addition:
    def __call__(self, x1: Bytes, x2: Bytes, out: Bytes, threads: int) -> None: ...

def make_addition(
    level: str, terms: Sequence[int], inputs_unsigned: bool, output_unsigned: bool
) -> Addition: ...
def make_convolution(
    level: str,
    window: Sequence[int],
    groups: int,
    weights: Bytes,
    weight_zero: int,
    bias: Int32 | None,
    boundary: Boundary,
    parameters: Parameters,
) -> Convolution: ...
def make_depthwise(
    level: str,
    window: Sequence[int],
    first_channel: int,
    last_channel: int,
    weights: Bytes,
    weight_zero: int,
    bias: Int32 | None,
    boundary: Boundary,
    parameters: Parameters,
) -> Depthwise: ...
def look_up(table: Bytes, x: Bytes, out: Bytes, threads: int) -> None: ...
def look_up_pair(table: Bytes, a: Bytes, b: Bytes, out: Bytes, threads: int) -> None: ...
def max_pool(window: Sequence[int], x: Bytes, out: Bytes, threads: int) -> None: ...
def sum_pool(window: Sequence[int], x: Bytes, out: Int32, threads: int) -> None: ...
