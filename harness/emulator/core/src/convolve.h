// Convolution as a matrix product, for any instruction set V.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "layer.h"
#include "requantize.h"

namespace edgefarm {

// Bytes of a packed block of activations that should stay in the second-level cache.
constexpr int64_t kBlockBytes = 192 * 1024;

template <class V>
struct ConvolutionKernels {
  using I32 = typename V::I32;
  using Activation = typename V::Activation;
  using Finish = Finishing<V>;

  // acc[row][panel] = start + sum over k of a[row][k] * b[k][panel's lanes]
  template <int kRows, int kPanels>
  static inline __attribute__((always_inline)) void accumulate(
      I32 (&acc)[kRows][kPanels], const Activation* a, int64_t row_stride, const int8_t* b,
      int64_t panel_stride, int steps, const int32_t* start) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) acc[r][p] = V::load(start + p * V::kLanes);
    }
    for (int s = 0; s < steps; ++s) {
      decltype(V::load_weights(b)) w[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) w[p] = V::load_weights(b + p * panel_stride);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const auto x = V::broadcast_group(a + r * row_stride);
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; ++p) acc[r][p] = V::dot(acc[r][p], x, w[p]);
      }
      a += V::kGroup;
      b += V::kLanes * V::kGroup;
    }
  }

  // The accumulators of a block that has fewer rows than the registers hold.
  template <int kRows, int kPanels>
  static void multiply(const Activation* a, int64_t row_stride, const int8_t* b,
                       int64_t panel_stride, int steps, const int32_t* start, int32_t* to) {
    I32 acc[kRows][kPanels];
    accumulate<kRows, kPanels>(acc, a, row_stride, b, panel_stride, steps, start);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) V::store(to + (r * kPanels + p) * V::kLanes, acc[r][p]);
    }
  }

  using Multiply = void (*)(const Activation*, int64_t, const int8_t*, int64_t, int, const int32_t*,
                            int32_t*);

  template <int kPanels, int... kRow>
  static Multiply multiply_for(int rows, std::integer_sequence<int, kRow...>) {
    static constexpr Multiply table[] = {&multiply<kRow + 1, kPanels>...};
    return table[rows - 1];
  }

  // One row of the matrix: the window's bytes under an output pixel, widened. Padding is the
  // input's zero point, which contributes nothing.
  static void pack_row(const Convolution& layer, const uint8_t* image, int y, int x, int group,
                       Activation zero, Activation* to) {
    const Window& w = layer.window;
    const int channel = group * layer.group_in;
    const int top = y * w.stride_h - w.pad_top, left = x * w.stride_w - w.pad_left;
    const uint8_t flip = layer.input_flip ^ V::kActivationFlip;
    const bool whole_lines = w.dilation_w == 1 && layer.groups == 1;
    const bool inside = left >= 0 && left + (w.kernel_w - 1) * w.dilation_w < w.in_w;
    for (int ky = 0; ky < w.kernel_h; ++ky) {
      const int iy = top + ky * w.dilation_h;
      const int line = w.kernel_w * layer.group_in;
      if (iy < 0 || iy >= w.in_h) {
        fill(to, line, zero);
      } else if (whole_lines && inside) {
        V::widen(to, image + ((int64_t)iy * w.in_w + left) * w.in_c, line, flip);
      } else {
        for (int kx = 0; kx < w.kernel_w; ++kx) {
          const int ix = left + kx * w.dilation_w;
          Activation* tap = to + kx * layer.group_in;
          if (ix < 0 || ix >= w.in_w) {
            fill(tap, layer.group_in, zero);
          } else {
            V::widen(tap, image + ((int64_t)iy * w.in_w + ix) * w.in_c + channel, layer.group_in,
                     flip);
          }
        }
      }
      to += line;
    }
    for (int k = layer.depth; k < layer.padded_depth; ++k) *to++ = 0;
  }

  static void fill(Activation* to, int count, Activation zero) {
    for (int i = 0; i < count; ++i) to[i] = zero;
  }
  static Activation activation_of(int32_t signed_byte) {
    return (Activation)(signed_byte + (V::kActivationFlip ? 128 : 0));
  }

  static bool is_pointwise(const Convolution& layer) {
    const Window& w = layer.window;
    return layer.groups == 1 && w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 &&
           w.stride_w == 1 && w.out_h == w.in_h && w.out_w == w.in_w;
  }

  // `zero_of`: the zero point of an image, as a signed byte.
  template <class F>
  static void pack_rows(const Convolution& layer, const uint8_t* in, int64_t first, int64_t last,
                        int group, Activation* to, F zero_of) {
    const Window& w = layer.window;
    if (is_pointwise(layer) && layer.depth == layer.padded_depth) {
      V::widen(to, in + first * layer.depth, (last - first) * layer.depth,
               layer.input_flip ^ V::kActivationFlip);
      return;
    }
    int64_t image = first / ((int64_t)w.out_h * w.out_w);
    int y = (int)(first / w.out_w % w.out_h), x = (int)(first % w.out_w);
    for (int64_t row = first; row < last; ++row) {
      pack_row(layer, in + image * w.in_size(), y, x, group, activation_of(zero_of(image)), to);
      to += layer.padded_depth;
      if (++x == w.out_w) {
        x = 0;
        if (++y == w.out_h) y = 0, ++image;
      }
    }
  }

  // weight_zero * (sum of the row's activations), which the signed weights leave to be subtracted.
  static void sum_rows(const Convolution& layer, const Activation* a, int rows, int32_t* to) {
    for (int r = 0; r < rows; ++r) {
      int32_t sum = 0;
      if (layer.weight_zero != 0) {
        for (int k = 0; k < layer.depth; ++k) sum += a[(int64_t)r * layer.padded_depth + k];
      }
      to[r] = (int32_t)((uint32_t)sum * (uint32_t)layer.weight_zero);
    }
  }

  static int row_block(const Convolution& layer) {
    const int64_t row = (int64_t)layer.padded_depth * sizeof(Activation);
    const int64_t rows = kBlockBytes / row / V::kRows * V::kRows;
    return (int)(rows < V::kRows ? V::kRows : rows > 4096 ? 4096 / V::kRows * V::kRows : rows);
  }

  template <Rounding R>
  static void convolve_as(const Convolution& layer, const uint8_t* in, uint8_t* out,
                          int64_t first_row, int64_t last_row, int first_panel, int last_panel,
                          Scratch& scratch) {
    const int rows = (int)(last_row - first_row);
    const int64_t elements = (int64_t)rows * layer.padded_depth;
    auto* a = (Activation*)scratch.at_least(elements * sizeof(Activation) + rows * sizeof(int32_t));
    auto* correction = (int32_t*)(a + elements);
    int packed_group = -1;
    for (int panel = first_panel; panel < last_panel;) {
      const int group = panel / layer.panels;
      if (group != packed_group) {
        pack_rows(layer, in, first_row, last_row, group, a,
                  [&](int64_t) { return layer.input_zero; });
        sum_rows(layer, a, rows, correction);
        packed_group = group;
      }
      const int group_end = (group + 1) * layer.panels;
      const int end = last_panel < group_end ? last_panel : group_end;
      const int panels = end - panel < V::kPanels ? end - panel : V::kPanels;
      strip_for<R>(panels, std::make_integer_sequence<int, V::kPanels>())(
          layer, a, layer.weight_zero ? correction : nullptr, rows,
          out + first_row * layer.window.out_c, panel);
      panel += panels;
    }
  }

  using Strip = void (*)(const Convolution&, const Activation*, const int32_t*, int, uint8_t*, int);

  template <Rounding R, int... kPanel>
  static Strip strip_for(int panels, std::integer_sequence<int, kPanel...>) {
    static constexpr Strip table[] = {&multiply_strip<R, kPanel + 1>...};
    return table[panels - 1];
  }

  // All rows of a block against kPanels neighbouring panels.
  template <Rounding R, int kPanels>
  static void multiply_strip(const Convolution& layer, const Activation* a,
                             const int32_t* correction, int rows, uint8_t* out, int panel) {
    const Requantization& q = layer.requantization;
    const typename V::Output output = Finish::output_of(q, layer.output_flip);
    const float cap = Finish::cap_of(q);
    const int64_t panel_stride = (int64_t)layer.padded_depth * V::kLanes;
    const int64_t lane = (int64_t)panel * V::kLanes;
    const int group = panel / layer.panels;
    const int in_group = (panel - group * layer.panels) * V::kLanes;
    const int left = layer.group_out - in_group;
    const int count = left < kPanels * V::kLanes ? left : kPanels * V::kLanes;
    out += group * layer.group_out + in_group;
    const int8_t* weights = layer.weights.data() + panel * panel_stride;
    const int32_t* start = layer.start.data() + lane;
    const int steps = layer.padded_depth / V::kGroup;
    const auto finish = [&](I32 (&x)[kPanels], int row) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        if (correction) x[p] = V::sub(x[p], V::splat(correction[row]));
        x[p] = Finish::template requantize<R>(x[p], q, lane + p * V::kLanes, cap);
      }
      V::template store_row<kPanels>(x, output, out + (int64_t)row * layer.window.out_c, count);
    };
    int row = 0;
    for (; row + V::kRows <= rows; row += V::kRows) {  // from the registers to the output
      I32 acc[V::kRows][kPanels];
      accumulate<V::kRows, kPanels>(acc, a + (int64_t)row * layer.padded_depth, layer.padded_depth,
                                    weights, panel_stride, steps, start);
#pragma GCC unroll 16
      for (int r = 0; r < V::kRows; ++r) finish(acc[r], row + r);
    }
    if (row == rows) return;
    alignas(64) int32_t rest[V::kRows * kPanels * V::kLanes];
    multiply_for<kPanels>(rows - row, std::make_integer_sequence<int, V::kRows>())(
        a + (int64_t)row * layer.padded_depth, layer.padded_depth, weights, panel_stride, steps,
        start, rest);
    for (int r = 0; row < rows; ++row, ++r) {
      I32 x[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) x[p] = V::load(rest + (r * kPanels + p) * V::kLanes);
      finish(x, row);
    }
  }

  static void convolve(const Convolution& layer, const uint8_t* in, uint8_t* out, int64_t first_row,
                       int64_t last_row, int first_panel, int last_panel, Scratch& scratch) {
    switch (layer.requantization.rounding) {
#define EDGEFARM_CASE(R)                                                                          \
  case Rounding::R:                                                                               \
    return convolve_as<Rounding::R>(layer, in, out, first_row, last_row, first_panel, last_panel, \
                                    scratch);
      EDGEFARM_CASE(kS1)
      EDGEFARM_CASE(kS2)
      EDGEFARM_CASE(kS3)
      EDGEFARM_CASE(kS4)
      EDGEFARM_CASE(kS5)
      EDGEFARM_CASE(kS7)
#undef EDGEFARM_CASE
    }
  }
};

}  // namespace edgefarm
