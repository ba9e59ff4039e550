// Accumulators to stored bytes, for any instruction set V.
#pragma once

#include "layer.h"

namespace edgefarm {

template <class V>
struct Finishing {
  using I32 = typename V::I32;

  // Before zero point and clamp, which V::Output adds. `c` is the first lane's channel.
  template <Rounding R>
  static I32 requantize(I32 x, const Requantization& q, int64_t c, float cap) {
    if constexpr (R == Rounding::kS5) return V::scale_single(x, q.scale.data() + c, cap);
    if constexpr (R == Rounding::kS4) return V::scale_double(x, q.scale64.data() + c);
    if constexpr (R == Rounding::kS4 || R == Rounding::kS5) return x;
    const I32 m = V::load(q.multiplier.data() + c);
    const I32 right = V::load(q.right.data() + c);
    if constexpr (R == Rounding::kS3) return V::multiply_shift(x, m, right);
    const I32 left = V::load(q.left.data() + c);
    if constexpr (R == Rounding::kS7) return V::rndnu16(x, m, left, right);
    const I32 high = V::doubling_high(V::shift_left(x, left), m);
    if constexpr (R == Rounding::kS1) return V::shift_ties_away(high, right);
    return V::shift_ties_up(high, right);
  }

  static typename V::Output output_of(const Requantization& q, uint8_t flip) {
    const int move = flip ? 128 : 0;
    return {q.zero_point - move, q.low - move, q.high - move, flip};
  }
  static float cap_of(const Requantization& q) { return (float)(q.high - q.zero_point); }
};

}  // namespace edgefarm
