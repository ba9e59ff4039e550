// Hybrid layers: float32 activations quantized row by row while they run, integer weights, float32
// outputs (harness/emulator/ops/hybrid.py). Free of any instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "layer.h"
#include "pack.h"

namespace edgefarm {

// How rows become integers (harness/arithmetic/dynamic.py).
enum class Rows {
  kQd8,
  kQp8,
  kSymmetricAway,
  kSymmetricHalfAdded,
  kAsymmetricAway,
  kAsymmetricHalfAdded
};

// What becomes of an accumulator (likewise).
enum class Expression { kQd8, kFused, kProduct, kWeightsFirst, kRowsFirst, kBlocksOf4 };

struct RowRange {
  float low, high;  // zero included; NaN where an element is not finite
};

// value = clip(round(x * inverse) + zero, low, 127)
struct RowParameters {
  float inverse, scale;
  int32_t zero, low;
};

// From sums of products to outputs; one value for each lane, padded to whole vectors.
struct Scaling {
  Expression expression;
  std::vector<int32_t> sums;  // of the weights, which a row's zero point multiplies
  std::vector<float> scale, bias;
  float low, high;  // of the fused activation; infinite where it is open
};

// `row`: elements that are quantized together, an image or a pixel.
struct HybridConvolution {
  Convolution product;
  int64_t row;
  Rows rows;
  Scaling scaling;
};

struct HybridDepthwise {
  Depthwise product;
  int64_t row;
  Rows rows;
  Scaling scaling;  // in the order of the image's channels
};

// False where the row has no scale in float32, which no runtime defines.
bool find_parameters(Rows rows, const RowRange& range, RowParameters& parameters);

// Throw std::invalid_argument as the others of pack.h do. `product` computes plain sums.
struct ScalingTerms {
  int expression;
  std::vector<float> scale, bias;  // one for each output channel
  float low, high;
};
HybridConvolution pack_hybrid_convolution(const Level& level, const Window& window, int groups,
                                          const Weights& weights, int64_t row, int rows,
                                          const ScalingTerms& terms);
HybridDepthwise pack_hybrid_depthwise(const Level& level, const Window& window,
                                      const Weights& weights, int64_t row, int rows,
                                      const ScalingTerms& terms);

// False as of `find_parameters`.
bool run(const Level& level, const HybridConvolution& layer, const float* in, float* out,
         int64_t batch, int threads);
bool run(const Level& level, const HybridDepthwise& layer, const float* in, float* out,
         int64_t batch, int threads);

}  // namespace edgefarm
