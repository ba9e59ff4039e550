// Convolution and depthwise convolution on int16, for any instruction set V.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "convolve.h"
#include "depthwise.h"
#include "wide.h"

namespace edgefarm {

template <class V>
struct WideKernels {
  using I32 = typename V::I32;
  using Product = ConvolutionKernels<V>;
  using Activation = typename V::Activation;

  static constexpr int kMost =
      V::kPanels * V::kLanes > V::kChannels ? V::kPanels * V::kLanes : V::kChannels;

  // `count` outputs from sums of products, from lane `lane` on; at most kMost. Small loops, each of
  // which compilers turn into vectors.
  static void finish(const WideRequantization& q, const int64_t* __restrict sums, int64_t lane,
                     int count, int16_t* __restrict out) {
    if (q.real) return finish_real(q, sums, lane, count, out);
    const int64_t* __restrict start = q.start.data() + lane;
    const int64_t* __restrict multiplier = q.multiplier.data() + lane;
    const int64_t* __restrict half = q.half.data() + lane;
    const int64_t* __restrict right = q.right.data() + lane;
    const int64_t* __restrict base = q.base.data() + lane;
    const int32_t zero = q.zero_point, least = q.low, most = q.high;
    // Few levels have an arithmetic shift of 64 bits: `half` holds 2^62 more, so that the sum is
    // positive, and `base` takes it off.
    uint64_t moved[kMost];
    for (int i = 0; i < count; ++i) {
      moved[i] = (uint64_t)((sums[i] + start[i]) * multiplier[i] + half[i]);
    }
    for (int i = 0; i < count; ++i) moved[i] = (moved[i] >> right[i]) - (uint64_t)base[i];
    for (int i = 0; i < count; ++i) {
      int32_t y = (int32_t)(uint32_t)moved[i];
      y = y < -65536 ? -65536 : y;  // so that adding the zero point cannot overflow
      y = (y > 65536 ? 65536 : y) + zero;
      y = y < least ? least : y;
      out[i] = (int16_t)(y > most ? most : y);
    }
  }

  static void finish_real(const WideRequantization& q, const int64_t* sums, int64_t lane,
                          int count, int16_t* __restrict out) {
    for (int i = 0; i < count; ++i) {
      const int64_t acc = sums[i] + q.start[(size_t)(lane + i)];
      const int64_t y = round_away((double)acc * q.scale[(size_t)(lane + i)]) + q.zero_point;
      out[i] = (int16_t)(y < q.low ? q.low : y > q.high ? q.high : y);
    }
  }

  static int64_t round_away(double y) {
    const double magnitude = y < 0 ? -y : y;
    const auto whole = (int64_t)magnitude;
    const int64_t rounded = whole + (magnitude - (double)whole >= 0.5);
    return y < 0 ? -rounded : rounded;
  }

  static void convolve(const WideConvolution& layer, const Halves& in, int16_t* out,
                       int64_t first_row, int64_t last_row, int first_panel, int last_panel,
                       Scratch& scratch) {
    const Convolution& c = layer.product;
    const int rows = (int)(last_row - first_row);
    const size_t elements = (size_t)rows * (size_t)c.padded_depth;
    auto* high = (Activation*)scratch.at_least(2 * elements * sizeof(Activation));
    auto* low = high + elements;
    int packed_group = -1;
    for (int panel = first_panel; panel < last_panel;) {
      const int group = panel / c.panels;
      if (group != packed_group) {
        Product::pack_rows(c, in.high, first_row, last_row, group, high,
                           [](int64_t) { return 0; });
        Product::pack_rows(c, in.low, first_row, last_row, group, low,
                           [](int64_t) { return kLowOfZero; });
        packed_group = group;
      }
      const int group_end = (group + 1) * c.panels;
      const int end = last_panel < group_end ? last_panel : group_end;
      const int panels = end - panel < V::kPanels ? end - panel : V::kPanels;
      strip_for(panels, std::make_integer_sequence<int, V::kPanels>())(
          layer, high, low, rows, out + first_row * c.window.out_c, panel);
      panel += panels;
    }
  }

  using Strip = void (*)(const WideConvolution&, const Activation*, const Activation*, int,
                         int16_t*, int);

  template <int... kPanel>
  static Strip strip_for(int panels, std::integer_sequence<int, kPanel...>) {
    static constexpr Strip table[] = {&multiply_strip<kPanel + 1>...};
    return table[panels - 1];
  }

  // All rows of a block against kPanels neighbouring panels.
  template <int kPanels>
  static void multiply_strip(const WideConvolution& layer, const Activation* high,
                             const Activation* low, int rows, int16_t* out, int panel) {
    const Convolution& c = layer.product;
    const int64_t panel_stride = (int64_t)c.padded_depth * V::kLanes;
    const int64_t lane = (int64_t)panel * V::kLanes;
    const int group = panel / c.panels, in_group = (panel - group * c.panels) * V::kLanes;
    const int left = c.group_out - in_group;
    const int count = left < kPanels * V::kLanes ? left : kPanels * V::kLanes;
    const int8_t* weights = c.weights.data() + panel * panel_stride;
    const int32_t* start = c.start.data() + lane;
    const int steps = c.padded_depth / V::kGroup;
    alignas(64) int32_t sums[2][V::kRows * kPanels * V::kLanes];
    out += group * c.group_out + in_group;
    for (int row = 0; row < rows; row += V::kRows) {
      const int block = rows - row < V::kRows ? rows - row : V::kRows;
      const auto multiply =
          Product::template multiply_for<kPanels>(block,
                                                  std::make_integer_sequence<int, V::kRows>());
      const int64_t at = (int64_t)row * c.padded_depth;
      multiply(high + at, c.padded_depth, weights, panel_stride, steps, start, sums[0]);
      multiply(low + at, c.padded_depth, weights, panel_stride, steps, start, sums[1]);
      for (int r = 0; r < block; ++r) {
        const int32_t* high_sums = sums[0] + r * kPanels * V::kLanes;
        const int32_t* low_sums = sums[1] + r * kPanels * V::kLanes;
        int64_t whole[kMost];
        for (int i = 0; i < count; ++i) {
          whole[i] = 256 * (int64_t)high_sums[i] + (int64_t)low_sums[i];
        }
        finish(layer.wide, whole, lane, count, out + (int64_t)(row + r) * c.window.out_c);
      }
    }
  }

  // Windows are small enough that sums of whole products stay within 32 bits.
  static void depthwise(const WideDepthwise& layer, const int16_t* in, int16_t* out,
                        int64_t first_row, int64_t last_row, Scratch& scratch) {
    const auto finish_pixel = [&layer](I32(&acc)[V::kVectors], int64_t lane, int16_t* to,
                                       int width) {
      alignas(64) int32_t stored[V::kChannels], ordered[V::kChannels];
      for (int v = 0; v < V::kVectors; ++v) V::store(stored + v * V::kLanes, acc[v]);
      for (int i = 0; i < V::kChannels; i += 4) {  // the order keeps fours together
        std::memcpy(ordered + V::kOrder[i], stored + i, 4 * sizeof(int32_t));
      }
      int64_t whole[kMost];
      for (int i = 0; i < V::kChannels; ++i) whole[i] = ordered[i];
      finish(layer.wide, whole, lane, width, to);
    };
    DepthwiseKernels<V>::depthwise_lines(
        layer.product, in, out, first_row, last_row, scratch, [](int64_t) { return 0; },
        [&](int64_t) { return finish_pixel; });
  }
};

}  // namespace edgefarm
