"""Types of the C++ module; src/module.cpp is its source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[Any]
Floats = npt.NDArray[Any]
Words = npt.NDArray[Any]
Int32 = npt.NDArray[np.int32]

def best_level() -> str: ...
def has_level(name: str) -> bool: ...

class Undefined(ArithmeticError): ...

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

class Kernel: ...

class Convolution(Kernel):
    @property
    def packed_bytes(self) -> int: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int) -> None: ...

class Depthwise(Kernel):
    @property
    def packed_bytes(self) -> int: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int) -> None: ...

class HybridConvolution(Kernel):
    def __call__(self, x: Floats, out: Floats, threads: int) -> None: ...

class HybridDepthwise(Kernel):
    def __call__(self, x: Floats, out: Floats, threads: int) -> None: ...

class Gelu(Kernel):
    def __call__(self, x: Floats, out: Floats, threads: int) -> None: ...

class WideConvolution(Kernel):
    def __call__(self, x: Words, out: Words, threads: int) -> None: ...

class WideDepthwise(Kernel):
    def __call__(self, x: Words, out: Words, threads: int) -> None: ...

class WideAddition(Kernel):
    def __init__(self, terms: Sequence[int]) -> None: ...
    def __call__(self, a: Words, b: Words, out: Words, threads: int) -> None: ...

class Move(Kernel):
    def __init__(self, runs: Int32, in_count: int, like: npt.NDArray[Any], fill: int) -> None: ...
    def __call__(self, x: npt.NDArray[Any], out: npt.NDArray[Any], threads: int) -> None: ...

class Product(Kernel):
    def __call__(self, a: Bytes, b: Bytes, out: Bytes, threads: int) -> None: ...

class Softmax(Kernel):
    def __init__(
        self,
        table: Floats,
        depth: int,
        scale: float,
        zero: int,
        input_unsigned: bool,
        output_unsigned: bool,
        half_added: bool,
    ) -> None: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int) -> None: ...

class MaxPool(Kernel):
    def __init__(self, window: Sequence[int], is_unsigned: bool) -> None: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int) -> None: ...

class Table(Kernel):
    def __init__(self, table: Bytes) -> None: ...
    def __call__(self, x: Bytes, out: Bytes, threads: int) -> None: ...

class PairTable(Kernel):
    def __init__(self, table: Bytes) -> None: ...
    def __call__(self, a: Bytes, b: Bytes, out: Bytes, threads: int) -> None: ...

class Addition(Kernel):
    def __call__(self, a: Bytes, b: Bytes, out: Bytes, threads: int) -> None: ...

class Plan:
    def __init__(
        self,
        links: Sequence[tuple[Sequence[Kernel], Sequence[int], int]],
        sizes: Sequence[int],
        takes: Sequence[int],
        gives: Sequence[int],
    ) -> None: ...
    @property
    def arena_bytes(self) -> int: ...
    def __call__(
        self,
        inputs: Sequence[Bytes],
        outputs: Sequence[Bytes],
        threads: int,
        ns: npt.NDArray[np.int64],
    ) -> None: ...

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
def make_hybrid_convolution(
    level: str,
    window: Sequence[int],
    groups: int,
    weights: Bytes,
    row: int,
    rows: int,
    terms: tuple[int, Sequence[float], Sequence[float], float, float],
) -> HybridConvolution: ...
def make_hybrid_depthwise(
    level: str,
    window: Sequence[int],
    weights: Bytes,
    row: int,
    rows: int,
    terms: tuple[int, Sequence[float], Sequence[float], float, float],
) -> HybridDepthwise: ...
def make_wide_convolution(
    level: str,
    window: Sequence[int],
    groups: int,
    weights: Bytes,
    bias: npt.NDArray[np.int64] | None,
    parameters: Parameters,
) -> WideConvolution: ...
def make_wide_depthwise(
    level: str,
    window: Sequence[int],
    weights: Bytes,
    bias: npt.NDArray[np.int64] | None,
    parameters: Parameters,
) -> WideDepthwise: ...
def make_product(
    level: str,
    sizes: Sequence[int],
    zeros: Sequence[int],
    flags: Sequence[bool],
    parameters: Parameters,
) -> Product: ...
def sum_pool(window: Sequence[int], x: Bytes, out: Int32, threads: int) -> None: ...
