// From a model's constants to layers that the kernels of one level read.
#pragma once

#include <cstdint>
#include <vector>

#include "layer.h"

namespace edgefarm {

// Weights as the file has them: [output channel][height][width][channel of the group], or
// [1][height][width][channel] for a depthwise convolution. The zero point is one for all.
struct Weights {
  const uint8_t* data;
  bool is_unsigned;
  int32_t zero_point;
};

// Zero points and signedness around a layer.
struct Boundary {
  bool input_unsigned;
  int32_t input_zero;
  bool output_unsigned;
};

// Requantization as harness/arithmetic gives it, one value for each output channel.
struct Parameters {
  int number;  // 1 .. 7 of S1 .. S7
  std::vector<int64_t> multiplier;
  std::vector<int64_t> shift;
  std::vector<double> scale;  // S4 and S5; float32 values are exact in it
  int32_t zero_point, low, high;
};

// All throw std::invalid_argument when an argument is outside what the kernels are exact for.
void check_window(const Window& window);
Convolution pack_convolution(const Level& level, const Window& window, int groups,
                             const Weights& weights, const int32_t* bias, const Boundary& boundary,
                             const Parameters& parameters);
Depthwise pack_depthwise(const Level& level, const Window& window, int first_channel,
                         int last_channel, const Weights& weights, const int32_t* bias,
                         const Boundary& boundary, const Parameters& parameters);

// What an addition computes with; zero points are the file's.
struct Terms {
  int32_t first, second;  // multipliers
  int32_t shift;
  int32_t first_zero, second_zero, output_zero, low, high;
};
Addition pack_addition(const Terms& terms, bool inputs_unsigned, bool output_unsigned);

}  // namespace edgefarm
