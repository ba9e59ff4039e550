// The kernels, once, for any instruction set V (simd_*.h). Each file level_*.cpp compiles this with
// its own flags; everything here depends on V, so no two levels share a function.
#pragma once

#include <cstdint>
#include <cstring>

#include "convolve.h"
#include "depthwise.h"
#include "hybrid_kernels.h"
#include "layer.h"
#include "requantize.h"
#include "rows.h"
#include "wide_kernels.h"

namespace edgefarm {

template <class V>
struct Kernels {
  using I32 = typename V::I32;
  using Convolve = ConvolutionKernels<V>;

  static constexpr int kRun = V::kPanels * V::kLanes;

  static void add_run(const Addition& layer, const typename V::Output& output, const uint8_t* x1,
                      const uint8_t* x2, uint8_t* out, int count) {
    const I32 first = V::splat(layer.first), second = V::splat(layer.second);
    const I32 offset = V::splat(layer.offset);
    I32 y[V::kPanels];
#pragma GCC unroll 8
    for (int p = 0; p < V::kPanels; ++p) {
      const I32 a = V::multiply(first, V::load_bytes(x1 + p * V::kLanes, layer.input_flip));
      const I32 b = V::multiply(second, V::load_bytes(x2 + p * V::kLanes, layer.input_flip));
      y[p] = V::shift_right(V::add(V::add(a, b), offset), layer.shift);
    }
    V::store_row(y, output, out, count);
  }

  static void add(const Addition& layer, const uint8_t* x1, const uint8_t* x2, uint8_t* out,
                  int64_t size) {
    const typename V::Output output =
        Finishing<V>::output_of(layer.requantization, layer.output_flip);
    int64_t i = 0;
    for (; i + kRun <= size; i += kRun) add_run(layer, output, x1 + i, x2 + i, out + i, kRun);
    const int left = (int)(size - i);
    if (left == 0) return;
    uint8_t rest1[kRun] = {}, rest2[kRun] = {};
    std::memcpy(rest1, x1 + i, (size_t)left);
    std::memcpy(rest2, x2 + i, (size_t)left);
    add_run(layer, output, rest1, rest2, out + i, left);
  }

  static void multiply_row(const int32_t* __restrict a, const int32_t* __restrict b, int depth,
                           int columns, int32_t* __restrict acc) {
    for (int c = 0; c < columns; c += 64) {
      int32_t sums[64] = {};
      for (int k = 0; k < depth; ++k) {
        const int32_t x = a[k];
        const int32_t* row = b + (int64_t)k * columns + c;
        for (int i = 0; i < 64; ++i) sums[i] += x * row[i];
      }
      std::memcpy(acc + c, sums, sizeof sums);
    }
  }

  template <Rounding R>
  static void requantize_as(const Requantization& q, uint8_t flip, const int32_t* acc,
                            uint8_t* out, int count) {
    const typename V::Output output = Finishing<V>::output_of(q, flip);
    const float cap = Finishing<V>::cap_of(q);
    for (int at = 0; at < count; at += kRun) {
      I32 x[V::kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < V::kPanels; ++p) {
        x[p] = Finishing<V>::template requantize<R>(V::load(acc + at + p * V::kLanes), q,
                                                    p * V::kLanes, cap);
      }
      V::template store_row<V::kPanels>(x, output, out + at, count - at < kRun ? count - at : kRun);
    }
  }

  static void requantize_row(const Requantization& q, uint8_t flip, const int32_t* acc,
                             uint8_t* out, int count) {
    switch (q.rounding) {
#define EDGEFARM_CASE(R) \
  case Rounding::R:      \
    return requantize_as<Rounding::R>(q, flip, acc, out, count);
      EDGEFARM_CASE(kS1)
      EDGEFARM_CASE(kS2)
      EDGEFARM_CASE(kS3)
      EDGEFARM_CASE(kS4)
      EDGEFARM_CASE(kS5)
      EDGEFARM_CASE(kS7)
#undef EDGEFARM_CASE
    }
  }

  static constexpr Level level() {
    return {V::kName,
            V::kLanes,
            V::kGroup,
            V::kActivationFlip ? 128 : 0,
            V::kChannels,
            V::kOrder,
            &Convolve::row_block,
            &Convolve::convolve,
            &DepthwiseKernels<V>::depthwise,
            &add,
            &multiply_row,
            &requantize_row,
            &RowKernels<V>::find_range,
            &RowKernels<V>::quantize,
            &HybridKernels<V>::convolve,
            &HybridKernels<V>::depthwise,
            &WideKernels<V>::convolve,
            &WideKernels<V>::depthwise};
  }
};

}  // namespace edgefarm
