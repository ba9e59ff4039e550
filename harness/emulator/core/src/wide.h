// Layers on int16 activations with int64 accumulators. A convolution takes each activation as two
// bytes, whose products are summed apart, and the sums join in 64 bits. Free of any instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "layer.h"
#include "pack.h"

namespace edgefarm {

// From int64 accumulators to int16; one value for each lane, padded to whole vectors, depthwise in
// the order of the image's channels. S8 fills all but scale, S4 scale.
struct WideRequantization {
  bool real;                       // S4, else S8
  std::vector<int64_t> start;      // bias and what the split into bytes leaves
  std::vector<int64_t> multiplier, right;
  std::vector<int64_t> half, base;  // 2^62 and half a unit of the shift; 2^62 shifted
  std::vector<double> scale;
  int32_t zero_point, low, high;
};

struct WideConvolution {
  Convolution product;
  WideRequantization wide;
};

struct WideDepthwise {
  Depthwise product;
  WideRequantization wide;
};

// `number` of Parameters is 4 or 8; S8 as harness/arithmetic has it, reduced here. Zero points of
// input and weights are 0. Throw std::invalid_argument as the others of pack.h do.
WideConvolution pack_wide_convolution(const Level& level, const Window& window, int groups,
                                      const Weights& weights, const int64_t* bias,
                                      const Parameters& parameters);
WideDepthwise pack_wide_depthwise(const Level& level, const Window& window, const Weights& weights,
                                  const int64_t* bias, const Parameters& parameters);

void run(const Level& level, const WideConvolution& layer, const int16_t* in, int16_t* out,
         int64_t batch, int threads);
void run(const Level& level, const WideDepthwise& layer, const int16_t* in, int16_t* out,
         int64_t batch, int threads);

// The bytes of int16 activations as signed ones: x = 256 * high + low + 128.
struct Halves {
  const uint8_t* high;
  const uint8_t* low;
};
constexpr int32_t kLowOfZero = -128;

}  // namespace edgefarm
