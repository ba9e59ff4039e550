// The Python binding of layers on int16 activations, and of ops element by element on int16 and
// float32.
#include "binding.h"
#include "elementwise.h"
#include "wide.h"

namespace edgefarm {
namespace {

using WideBias = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class Layer>
struct PreparedWide final : Kernel {
  const Level& level;
  Layer layer;

  PreparedWide(const Level& level, Layer layer) : level(level), layer(std::move(layer)) {}

  int64_t in_size(int) const override { return 2 * layer.product.window.in_size(); }
  int64_t out_size() const override { return 2 * layer.product.window.out_size(); }
  Type input_type() const override { return Type::kInt16; }
  Type output_type() const override { return Type::kInt16; }
  int64_t work(int64_t out_size) const override {
    return out_size * (int64_t)layer.product.weights.size() /
           std::max(1, layer.product.window.out_c);
  }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    edgefarm::run(level, layer, (const int16_t*)in[0], (int16_t*)out, items, threads);
    return true;
  }
};

using WideConvolutionKernel = PreparedWide<WideConvolution>;
using WideDepthwiseKernel = PreparedWide<WideDepthwise>;

const int64_t* wide_bias(const std::optional<WideBias>& bias, int channels) {
  if (!bias) return nullptr;
  if ((int64_t)bias->size() != channels) {
    throw std::invalid_argument("the bias needs one value for each output channel");
  }
  return bias->data();
}

WideConvolutionKernel make_convolution(const std::string& level_name, const WindowSizes& sizes,
                                       int groups, const Source& weights,
                                       const std::optional<WideBias>& bias,
                                       const Parameters& parameters) {
  const Level& level = level_named(level_name);
  const Window w = window_of(sizes);
  if (groups < 1) throw std::invalid_argument("groups: allowed at least 1");
  require_type(weights, Type::kInt8, "the array of weights");
  const int64_t expected = int64_t{1} * w.out_c * w.kernel_h * w.kernel_w * (w.in_c / groups);
  return {level, pack_wide_convolution(level, w, groups, weights_of(weights, 0, expected),
                                       wide_bias(bias, w.out_c), parameters)};
}

WideDepthwiseKernel make_depthwise(const std::string& level_name, const WindowSizes& sizes,
                                   const Source& weights, const std::optional<WideBias>& bias,
                                   const Parameters& parameters) {
  const Level& level = level_named(level_name);
  const Window w = window_of(sizes);
  require_type(weights, Type::kInt8, "the array of weights");
  const int64_t expected = int64_t{1} * w.out_c * w.kernel_h * w.kernel_w;
  return {level, pack_wide_depthwise(level, w, weights_of(weights, 0, expected),
                                     wide_bias(bias, w.out_c), parameters)};
}

struct WideAdditionKernel final : Kernel {
  WideAddition layer;

  // zero, multiplier and shift of both inputs; raise; multiplier, shift, zero, low, high; once
  explicit WideAdditionKernel(const std::vector<int32_t>& t) {
    if (t.size() != 13) throw std::invalid_argument("an addition of int16 has 13 terms");
    layer = {{t[0], t[1], t[2]}, {t[3], t[4], t[5]}, t[6], t[7], t[8],
             t[9],               t[10],              t[11], t[12] != 0};
    check(layer);
  }
  int inputs() const override { return 2; }
  Type input_type() const override { return Type::kInt16; }
  Type output_type() const override { return Type::kInt16; }
  int64_t work(int64_t out_size) const override { return 4 * out_size; }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t size,
           int threads) const override {
    edgefarm::run(layer, (const int16_t*)in[0], (const int16_t*)in[1], (int16_t*)out,
                  items * size / 2, threads);
    return true;
  }
  void operator()(const Source& a, const Source& b, const Target& out, int threads) const {
    for (const Source* array : {&a, &b}) require_type(*array, Type::kInt16, "an input");
    require_type(Source(out), Type::kInt16, "the output");
    if (a.size() != out.size() || b.size() != out.size()) {
      throw std::invalid_argument("all arrays need one size");
    }
    const uint8_t* const from[] = {(const uint8_t*)a.data(), (const uint8_t*)b.data()};
    auto* to = (uint8_t*)out.data();
    const auto size = (int64_t)out.nbytes();
    checked_threads(threads);
    nb::gil_scoped_release release;
    run(from, to, 1, size, threads);
  }
};

struct GeluKernel final : Kernel {
  int64_t in_size(int) const override { return sizeof(float); }
  int64_t out_size() const override { return sizeof(float); }
  Type input_type() const override { return Type::kFloat32; }
  Type output_type() const override { return Type::kFloat32; }
  int64_t work(int64_t out_size) const override { return 16 * out_size; }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    gelu((const float*)in[0], (float*)out, items, threads);
    return true;
  }
};

}  // namespace

void bind_wide(nb::module_& m) {
  nb::class_<WideConvolutionKernel, Kernel>(m, "WideConvolution")
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<WideDepthwiseKernel, Kernel>(m, "WideDepthwise")
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<WideAdditionKernel, Kernel>(m, "WideAddition")
      .def(nb::init<const std::vector<int32_t>&>(), "terms"_a)
      .def("__call__", &WideAdditionKernel::operator(), "a"_a.noconvert(), "b"_a.noconvert(),
           "out"_a.noconvert(), "threads"_a);
  nb::class_<GeluKernel, Kernel>(m, "Gelu")
      .def(nb::init<>())
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  m.def("make_wide_convolution", &make_convolution, "level"_a, "window"_a, "groups"_a,
        "weights"_a.noconvert(), "bias"_a.noconvert().none(), "parameters"_a);
  m.def("make_wide_depthwise", &make_depthwise, "level"_a, "window"_a, "weights"_a.noconvert(),
        "bias"_a.noconvert().none(), "parameters"_a);
}

}  // namespace edgefarm
