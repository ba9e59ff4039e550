// Rows of float32 to int8, with parameters found in each row, for any instruction set V. Plain
// loops, which the compiler turns into the vectors of the level.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "hybrid.h"

namespace edgefarm {

template <class V>
struct RowKernels {
  static constexpr int kWide = 16;  // lanes of a reduction

  // The range of some elements, zero included; NaN where one is not finite.
  static RowRange find_range(const float* x, int64_t count) {
    float low[kWide] = {}, high[kWide] = {};
    int32_t most[kWide] = {};
    const auto see = [&](const float* from, int lane) {
      int32_t bits;
      std::memcpy(&bits, from, sizeof bits);
      bits &= 0x7FFFFFFF;
      most[lane] = bits > most[lane] ? bits : most[lane];
      low[lane] = *from < low[lane] ? *from : low[lane];
      high[lane] = *from > high[lane] ? *from : high[lane];
    };
    int64_t i = 0;
    for (; i + kWide <= count; i += kWide) {
      for (int lane = 0; lane < kWide; ++lane) see(x + i + lane, lane);
    }
    for (; i < count; ++i) see(x + i, 0);
    RowRange range{0.0f, 0.0f};
    for (int lane = 0; lane < kWide; ++lane) {
      if (most[lane] >= 0x7F800000) return {NAN, NAN};
      range.low = std::min(range.low, low[lane]);
      range.high = std::max(range.high, high[lane]);
    }
    return range;
  }

  // Ties to even, for |y| up to 2^22: the sum has no bits below one.
  static int32_t round_even(float y) {
    constexpr float kMagic = 12582912.0f;
    return (int32_t)((y + kMagic) - kMagic);
  }
  static int32_t round_away(float y) {
    const float magnitude = y < 0 ? -y : y;
    const int32_t whole = (int32_t)magnitude;
    const int32_t rounded = whole + (magnitude - (float)whole >= 0.5f);
    return y < 0 ? -rounded : rounded;
  }
  static int32_t add_half(float y) { return (int32_t)(y + __builtin_copysignf(0.5f, y)); }

  template <class F>
  static void quantize_with(const float* x, int64_t count, const RowParameters& p, int8_t* to,
                            F round) {
    const float inverse = p.inverse;
    const int32_t zero = p.zero, low = p.low;
    for (int64_t i = 0; i < count; ++i) {
      const int32_t y = round(x[i] * inverse) + zero;
      to[i] = (int8_t)(y < low ? low : y > 127 ? 127 : y);
    }
  }

  // Of one row, or of a part that begins at a whole block of 8 and holds such, or its end.
  static void quantize(Rows rows, const float* x, int64_t count, const RowParameters& p,
                       int8_t* to) {
    switch (rows) {
      case Rows::kQd8:
        return quantize_with(x, count, p, to, [](float y) { return round_even(y); });
      case Rows::kQp8:
      case Rows::kSymmetricAway:
      case Rows::kAsymmetricAway:
        return quantize_with(x, count, p, to, [](float y) { return round_away(y); });
      case Rows::kSymmetricHalfAdded:
      case Rows::kAsymmetricHalfAdded: {
        const int64_t body = count / 8 * 8;
        quantize_with(x, body, p, to, [](float y) { return add_half(y); });
        quantize_with(x + body, count - body, p, to + body, [](float y) { return round_away(y); });
      }
    }
  }
};

}  // namespace edgefarm
