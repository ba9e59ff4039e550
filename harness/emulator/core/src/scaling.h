// Sums of products of a hybrid layer to its float32 outputs, for any instruction set V. Each step
// rounds once; the build forbids the compiler to fuse any.
#pragma once

#include <cstdint>

#include "hybrid.h"

namespace edgefarm {

template <class V>
struct ScalingKernels {
  template <Expression E>
  static float scale(float acc, float row, float weights, float bias) {
    if constexpr (E == Expression::kQd8) return __builtin_fmaf(acc * row, weights, bias);
    if constexpr (E == Expression::kFused) return __builtin_fmaf(acc, row * weights, bias);
    if constexpr (E == Expression::kProduct) return acc * (row * weights) + bias;
    if constexpr (E == Expression::kWeightsFirst) return acc * weights * row + bias;
    return acc * row * weights + bias;
  }

  // `count` outputs of a row whose parameters are (zero, row_scale), from lane `lane` on.
  template <Expression E>
  static inline __attribute__((always_inline)) void finish_as(const Scaling& s, const int32_t* acc,
                                                              int64_t lane, int count,
                                                              int32_t zero, float row_scale,
                                                              float* __restrict out) {
    const int32_t* sums = s.sums.data() + lane;
    const float* weights = s.scale.data() + lane;
    const float* bias = s.bias.data() + lane;
    const float low = s.low, high = s.high;
    for (int i = 0; i < count; ++i) {
      const auto sum = (int32_t)((uint32_t)acc[i] - (uint32_t)zero * (uint32_t)sums[i]);
      float y = scale<E>((float)sum, row_scale, weights[i], bias[i]);
      y = y < low ? low : y;
      out[i] = y > high ? high : y;
    }
  }

  // `in_blocks`: channels from this lane on that lie in whole blocks of 4 of the output's; the rest
  // is scaled in another order under kBlocksOf4.
  static void finish(const Scaling& s, const int32_t* acc, int64_t lane, int count,
                     int in_blocks, int32_t zero, float row_scale, float* out) {
    switch (s.expression) {
#define EDGEFARM_CASE(E)  \
  case Expression::E:     \
    return finish_as<Expression::E>(s, acc, lane, count, zero, row_scale, out);
      EDGEFARM_CASE(kQd8)
      EDGEFARM_CASE(kFused)
      EDGEFARM_CASE(kProduct)
      EDGEFARM_CASE(kWeightsFirst)
      EDGEFARM_CASE(kRowsFirst)
#undef EDGEFARM_CASE
      case Expression::kBlocksOf4: {
        const int body = in_blocks < 0 ? 0 : in_blocks < count ? in_blocks : count;
        finish_as<Expression::kWeightsFirst>(s, acc, lane, body, zero, row_scale, out);
        finish_as<Expression::kRowsFirst>(s, acc + body, lane + body, count - body, zero,
                                          row_scale, out + body);
      }
    }
  }
};

}  // namespace edgefarm
