// Hybrid convolution and depthwise convolution, for any instruction set V: the products of
// convolve.h and depthwise.h on rows that are int8 by now, and float32 outputs.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "convolve.h"
#include "depthwise.h"
#include "hybrid.h"
#include "scaling.h"

namespace edgefarm {

template <class V>
struct HybridKernels {
  using I32 = typename V::I32;
  using Product = ConvolutionKernels<V>;
  using Activation = typename V::Activation;

  // `parameters`: of each row of activations; the images of the batch in sequence.
  static void convolve(const HybridConvolution& layer, const int8_t* in,
                       const RowParameters* parameters, float* out, int64_t first_row,
                       int64_t last_row, int first_panel, int last_panel, Scratch& scratch) {
    const Convolution& c = layer.product;
    const Window& w = c.window;
    const int rows = (int)(last_row - first_row);
    auto* a = (Activation*)scratch.at_least((size_t)rows * (size_t)c.padded_depth *
                                            sizeof(Activation));
    // A row of activations is an image, or a pixel of it.
    const bool by_image = layer.row == w.in_size();
    const int64_t pixels = by_image ? (int64_t)w.out_h * w.out_w : 1;
    int packed_group = -1;
    for (int panel = first_panel; panel < last_panel;) {
      const int group = panel / c.panels;
      if (group != packed_group) {
        Product::pack_rows(c, (const uint8_t*)in, first_row, last_row, group, a,
                           [&](int64_t image) { return by_image ? parameters[image].zero : 0; });
        packed_group = group;
      }
      const int group_end = (group + 1) * c.panels;
      const int end = last_panel < group_end ? last_panel : group_end;
      const int panels = end - panel < V::kPanels ? end - panel : V::kPanels;
      strip_for(panels, std::make_integer_sequence<int, V::kPanels>())(
          layer, a, parameters, first_row, rows, pixels, out, panel);
      panel += panels;
    }
  }

  using Strip = void (*)(const HybridConvolution&, const Activation*, const RowParameters*, int64_t,
                         int, int64_t, float*, int);

  template <int... kPanel>
  static Strip strip_for(int panels, std::integer_sequence<int, kPanel...>) {
    static constexpr Strip table[] = {&multiply_strip<kPanel + 1>...};
    return table[panels - 1];
  }

  // All rows of a block against kPanels neighbouring panels.
  template <int kPanels>
  static void multiply_strip(const HybridConvolution& layer, const Activation* a,
                             const RowParameters* parameters, int64_t first_row, int rows,
                             int64_t pixels, float* out, int panel) {
    const Convolution& c = layer.product;
    const int64_t panel_stride = (int64_t)c.padded_depth * V::kLanes;
    const int64_t lane = (int64_t)panel * V::kLanes;
    const int group = panel / c.panels, in_group = (panel - group * c.panels) * V::kLanes;
    const int left = c.group_out - in_group;
    const int count = left < kPanels * V::kLanes ? left : kPanels * V::kLanes;
    const int channel = group * c.group_out + in_group;
    const int in_blocks = c.window.out_c / 4 * 4 - channel;
    alignas(64) int32_t acc[V::kRows * kPanels * V::kLanes];
    for (int row = 0; row < rows; row += V::kRows) {
      const int block = rows - row < V::kRows ? rows - row : V::kRows;
      Product::template multiply_for<kPanels>(block, std::make_integer_sequence<int, V::kRows>())(
          a + (int64_t)row * c.padded_depth, c.padded_depth, c.weights.data() + panel * panel_stride,
          panel_stride, c.padded_depth / V::kGroup, c.start.data() + lane, acc);
      for (int r = 0; r < block; ++r) {
        const int64_t place = first_row + row + r;
        const RowParameters& p = parameters[place / pixels];
        ScalingKernels<V>::finish(layer.scaling, acc + r * kPanels * V::kLanes, lane, count,
                                  in_blocks, p.zero, p.scale,
                                  out + place * c.window.out_c + channel);
      }
    }
  }

  static void depthwise(const HybridDepthwise& layer, const int8_t* in,
                        const RowParameters* parameters, float* out, int64_t first_row,
                        int64_t last_row, Scratch& scratch) {
    const Window& w = layer.product.window;
    const int channels = w.out_c;
    const auto finish_of = [&](int64_t image) {
      const RowParameters& p = parameters[image];
      return [&layer, &p, channels](I32(&acc)[V::kVectors], int64_t lane, float* to, int width) {
        alignas(64) int32_t stored[V::kChannels], ordered[V::kChannels];
        for (int v = 0; v < V::kVectors; ++v) V::store(stored + v * V::kLanes, acc[v]);
        for (int i = 0; i < V::kChannels; i += 4) {  // the order keeps fours together
          std::memcpy(ordered + V::kOrder[i], stored + i, 4 * sizeof(int32_t));
        }
        ScalingKernels<V>::finish(layer.scaling, ordered, lane, width,
                                  channels / 4 * 4 - (int)lane, p.zero, p.scale, to);
      };
    };
    DepthwiseKernels<V>::depthwise_lines(
        layer.product, (const uint8_t*)in, out + first_row * w.out_w * w.out_c, first_row,
        last_row, scratch,
        [&](int64_t image) { return (uint8_t)parameters[image].zero; }, finish_of);
  }
};

}  // namespace edgefarm
