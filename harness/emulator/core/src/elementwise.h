// Ops element by element on int16 and float32 tensors.
#pragma once

#include <cstdint>

namespace edgefarm {

// An input of an addition at the sum's scale: of (x - zero) * 2^raise its doubling high product by
// `multiplier`, then a shift to the right, ties away from zero (S1); or, `once`, of
// (x - zero) * 2^(raise + shift), truncated where that is to the right, the product alone.
struct RaisedInput {
  int32_t zero, multiplier, shift;  // shift to the left: at most 0, at least -31
};

// y = clip(S1(a + b, multiplier, shift) + zero) of int16 (harness/emulator/ops/add.py).
struct WideAddition {
  RaisedInput first, second;
  int32_t raise;  // 0 to 15
  int32_t multiplier, shift, zero, low, high;
  bool once;
};

// Throws std::invalid_argument where a number may leave its type.
void check(const WideAddition& layer);
void run(const WideAddition& layer, const int16_t* a, const int16_t* b, int16_t* out, int64_t size,
         int threads);

// x Phi(x), with the C library's erf in double.
void gelu(const float* x, float* out, int64_t size, int threads);

}  // namespace edgefarm
