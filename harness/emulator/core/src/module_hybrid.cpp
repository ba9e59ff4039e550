// The Python binding of hybrid layers.
#include <tuple>

#include "binding.h"
#include "hybrid.h"

namespace edgefarm {
namespace {

template <class Layer>
struct PreparedHybrid final : Kernel {
  const Level& level;
  Layer layer;

  PreparedHybrid(const Level& level, Layer layer) : level(level), layer(std::move(layer)) {}

  int64_t in_size(int) const override {
    return layer.product.window.in_size() * (int64_t)sizeof(float);
  }
  int64_t out_size() const override {
    return layer.product.window.out_size() * (int64_t)sizeof(float);
  }
  Type input_type() const override { return Type::kFloat32; }
  Type output_type() const override { return Type::kFloat32; }
  int64_t work(int64_t out_size) const override {
    const int64_t channels = std::max(1, layer.product.window.out_c);
    return out_size / (int64_t)sizeof(float) * (int64_t)layer.product.weights.size() / channels;
  }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    return edgefarm::run(level, layer, (const float*)in[0], (float*)out, items, threads);
  }
};

// (expression, scales, biases, low, high)
using Terms5 = std::tuple<int, std::vector<float>, std::vector<float>, float, float>;

ScalingTerms terms_of(const Terms5& terms) {
  return {std::get<0>(terms), std::get<1>(terms), std::get<2>(terms), std::get<3>(terms),
          std::get<4>(terms)};
}

Weights signed_weights(const Source& weights, int64_t expected) {
  require_type(weights, Type::kInt8, "the array of weights");
  return weights_of(weights, 0, expected);
}

using HybridConvolutionKernel = PreparedHybrid<HybridConvolution>;
using HybridDepthwiseKernel = PreparedHybrid<HybridDepthwise>;

HybridConvolutionKernel make_convolution(const std::string& level_name, const WindowSizes& sizes,
                                         int groups, const Source& weights, int64_t row, int rows,
                                         const Terms5& terms) {
  const Level& level = level_named(level_name);
  const Window w = window_of(sizes);
  if (groups < 1) throw std::invalid_argument("groups: allowed at least 1");
  const int64_t expected = int64_t{1} * w.out_c * w.kernel_h * w.kernel_w * (w.in_c / groups);
  return {level, pack_hybrid_convolution(level, w, groups, signed_weights(weights, expected), row,
                                         rows, terms_of(terms))};
}

HybridDepthwiseKernel make_depthwise(const std::string& level_name, const WindowSizes& sizes,
                                     const Source& weights, int64_t row, int rows,
                                     const Terms5& terms) {
  const Level& level = level_named(level_name);
  const Window w = window_of(sizes);
  const int64_t expected = int64_t{1} * w.out_c * w.kernel_h * w.kernel_w;
  return {level, pack_hybrid_depthwise(level, w, signed_weights(weights, expected), row, rows,
                                       terms_of(terms))};
}

}  // namespace

void bind_hybrid(nb::module_& m) {
  nb::class_<HybridConvolutionKernel, Kernel>(m, "HybridConvolution")
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<HybridDepthwiseKernel, Kernel>(m, "HybridDepthwise")
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  m.def("make_hybrid_convolution", &make_convolution, "level"_a, "window"_a, "groups"_a,
        "weights"_a.noconvert(), "row"_a, "rows"_a, "terms"_a);
  m.def("make_hybrid_depthwise", &make_depthwise, "level"_a, "window"_a, "weights"_a.noconvert(),
        "row"_a, "rows"_a, "terms"_a);
}

}  // namespace edgefarm
