// The Python binding. Everything that crosses it is checked here: a wrong shape or dtype ends in an
// exception, never in a read outside an array.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "pack.h"
#include "run.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace edgefarm;

namespace {

using Source = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<nb::c_contig, nb::device::cpu>;
using Times = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bias = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Sizes in the order of Window's members.
using WindowSizes = std::vector<int>;

Window window_of(const WindowSizes& sizes) {
  if (sizes.size() != 14) throw std::invalid_argument("a window has 14 sizes");
  Window w;
  int* const members[] = {&w.in_h,       &w.in_w,       &w.in_c,     &w.out_h,    &w.out_w,
                          &w.out_c,      &w.kernel_h,   &w.kernel_w, &w.stride_h, &w.stride_w,
                          &w.dilation_h, &w.dilation_w, &w.pad_top,  &w.pad_left};
  for (size_t i = 0; i < sizes.size(); ++i) *members[i] = sizes[i];
  return w;
}

template <class A>
bool is_unsigned(const A& array) {
  if (array.dtype() == nb::dtype<uint8_t>()) return true;
  if (array.dtype() == nb::dtype<int8_t>()) return false;
  throw std::invalid_argument("an array is neither int8 nor uint8");
}

void require_bytes(const Source& array, bool wants_unsigned, const char* what) {
  if (is_unsigned(array) != wants_unsigned) {
    throw std::invalid_argument(std::string(what) + " has the wrong signedness");
  }
}

// Elements per item of a batch must match; gives the batch.
int64_t batch_of(const Source& in, int64_t in_size, size_t out_count, int64_t out_size) {
  const int64_t count = (int64_t)in.size();
  if (count % in_size != 0 || (int64_t)out_count != count / in_size * out_size) {
    throw std::invalid_argument("input and output do not hold the same number of images");
  }
  return count / in_size;
}

int checked_threads(int threads) {
  if (threads < 1 || threads > 256) throw std::invalid_argument("threads: allowed 1 to 256");
  return threads;
}

Weights weights_of(const Source& weights, int32_t zero_point, int64_t expected) {
  if ((int64_t)weights.size() != expected) {
    throw std::invalid_argument("the weights do not fit the window");
  }
  return {(const uint8_t*)weights.data(), is_unsigned(weights), zero_point};
}

const int32_t* bias_of(const std::optional<Bias>& bias, int channels) {
  if (!bias) return nullptr;
  if ((int64_t)bias->size() != channels) {
    throw std::invalid_argument("the bias needs one value for each output channel");
  }
  return bias->data();
}

const Level& level_named(const std::string& name) {
  const Level* level = find_level(name.c_str());
  if (!level) throw std::invalid_argument("level " + name + " does not run here");
  return *level;
}

// A packed layer with the level it is packed for.
template <class Layer>
struct Prepared {
  const Level& level;
  Layer layer;
  bool input_unsigned, output_unsigned;

  void operator()(const Source& in, const Target& out, int threads) const {
    require_bytes(in, input_unsigned, "the input");
    require_bytes(Source(out), output_unsigned, "the output");
    const Window& w = layer.window;
    const int64_t batch = batch_of(in, w.in_size(), out.size(), w.out_size());
    const auto* from = (const uint8_t*)in.data();
    auto* to = (uint8_t*)out.data();
    checked_threads(threads);
    nb::gil_scoped_release release;
    run(level, layer, from, to, batch, threads);
  }
  size_t packed_bytes() const {
    const Requantization& q = layer.requantization;
    return layer.weights.size() * sizeof layer.weights[0] +
           4 * (layer.start.size() + q.multiplier.size() + q.left.size() + q.right.size() +
                q.scale.size() + 2 * q.scale64.size());
  }
};

using PreparedConvolution = Prepared<Convolution>;
using PreparedDepthwise = Prepared<Depthwise>;

// Layers that feed each other: one call, and no array of Python's between them. Several kernels of
// one link fill its output together, each its channels.
class Chain {
 public:
  explicit Chain(const std::vector<std::vector<nb::object>>& links) {
    if (links.empty()) throw std::invalid_argument("a chain has at least one link");
    for (const auto& kernels : links) {
      if (kernels.empty()) throw std::invalid_argument("a link has at least one kernel");
      Link link;
      for (const nb::object& kernel : kernels) {
        if (nb::isinstance<PreparedConvolution>(kernel)) {
          add(link, nb::cast<const PreparedConvolution&>(kernel), kernel);
        } else {
          add(link, nb::cast<const PreparedDepthwise&>(kernel), kernel);
        }
      }
      if (!links_.empty() && (links_.back().out_size != link.in_size ||
                              links_.back().output_unsigned != link.input_unsigned)) {
        throw std::invalid_argument("a link does not take what the one before it gives");
      }
      links_.push_back(std::move(link));
    }
  }

  // Adds the nanoseconds of each link to `ns`.
  void operator()(const Source& in, const Target& out, int threads, const Times& ns) const {
    require_bytes(in, links_.front().input_unsigned, "the input");
    require_bytes(Source(out), links_.back().output_unsigned, "the output");
    if (ns.size() != links_.size()) throw std::invalid_argument("a time for each link");
    const int64_t batch =
        batch_of(in, links_.front().in_size, out.size(), links_.back().out_size);
    int64_t largest = 0;
    for (const Link& link : links_) largest = std::max(largest, link.out_size);
    checked_threads(threads);
    const auto* from = (const uint8_t*)in.data();
    auto* const last = (uint8_t*)out.data();
    int64_t* time = ns.data();
    nb::gil_scoped_release release;
    std::unique_ptr<uint8_t[]> between[2];
    for (size_t i = 0; i < links_.size(); ++i) {
      const auto started = std::chrono::steady_clock::now();
      auto& buffer = between[i % 2];
      const bool is_last = i + 1 == links_.size();
      if (!is_last && !buffer) buffer.reset(new uint8_t[batch * largest]);
      uint8_t* to = is_last ? last : buffer.get();
      for (const auto& kernel : links_[i].kernels) kernel(from, to, batch, threads);
      from = to;
      time[i] += std::chrono::nanoseconds(std::chrono::steady_clock::now() - started).count();
    }
  }

 private:
  struct Link {
    std::vector<std::function<void(const uint8_t*, uint8_t*, int64_t, int)>> kernels;
    int64_t in_size, out_size;
    bool input_unsigned, output_unsigned;
  };

  template <class Layer>
  void add(Link& link, const Prepared<Layer>& kernel, const nb::object& owner) {
    link.in_size = kernel.layer.window.in_size();
    link.out_size = kernel.layer.window.out_size();
    link.input_unsigned = kernel.input_unsigned;
    link.output_unsigned = kernel.output_unsigned;
    link.kernels.push_back([&kernel](const uint8_t* in, uint8_t* out, int64_t batch, int threads) {
      run(kernel.level, kernel.layer, in, out, batch, threads);
    });
    owners_.push_back(owner);
  }

  std::vector<Link> links_;
  std::vector<nb::object> owners_;  // keeps the kernels alive
};

struct PreparedAddition {
  const Level& level;
  Addition layer;
  bool inputs_unsigned, output_unsigned;

  void operator()(const Source& x1, const Source& x2, const Target& out, int threads) const {
    require_bytes(x1, inputs_unsigned, "the first input");
    require_bytes(x2, inputs_unsigned, "the second input");
    require_bytes(Source(out), output_unsigned, "the output");
    if (x1.size() != out.size() || x2.size() != out.size()) {
      throw std::invalid_argument("all arrays need one size");
    }
    const auto *a = (const uint8_t*)x1.data(), *b = (const uint8_t*)x2.data();
    auto* to = (uint8_t*)out.data();
    const auto size = (int64_t)out.size();
    checked_threads(threads);
    nb::gil_scoped_release release;
    run(level, layer, a, b, to, size, threads);
  }
};

PreparedAddition make_addition(const std::string& level_name, const std::vector<int32_t>& terms,
                               bool inputs_unsigned, bool output_unsigned) {
  if (terms.size() != 8) throw std::invalid_argument("an addition has 8 terms");
  const Terms t{terms[0], terms[1], terms[2], terms[3], terms[4], terms[5], terms[6], terms[7]};
  return {level_named(level_name), pack_addition(t, inputs_unsigned, output_unsigned),
          inputs_unsigned, output_unsigned};
}

PreparedConvolution make_convolution(const std::string& level_name, const WindowSizes& sizes,
                                     int groups, const Source& weights, int32_t weight_zero,
                                     const std::optional<Bias>& bias, const Boundary& boundary,
                                     const Parameters& parameters) {
  const Level& level = level_named(level_name);
  const Window w = window_of(sizes);
  if (groups < 1) throw std::invalid_argument("groups: allowed at least 1");
  const int64_t expected = int64_t{1} * w.out_c * w.kernel_h * w.kernel_w * (w.in_c / groups);
  return {level,
          pack_convolution(level, w, groups, weights_of(weights, weight_zero, expected),
                           bias_of(bias, w.out_c), boundary, parameters),
          boundary.input_unsigned, boundary.output_unsigned};
}

PreparedDepthwise make_depthwise(const std::string& level_name, const WindowSizes& sizes,
                                 int first_channel, int last_channel, const Source& weights,
                                 int32_t weight_zero, const std::optional<Bias>& bias,
                                 const Boundary& boundary, const Parameters& parameters) {
  const Level& level = level_named(level_name);
  const Window w = window_of(sizes);
  const int64_t expected = int64_t{1} * w.out_c * w.kernel_h * w.kernel_w;
  return {level,
          pack_depthwise(level, w, first_channel, last_channel,
                         weights_of(weights, weight_zero, expected), bias_of(bias, w.out_c),
                         boundary, parameters),
          boundary.input_unsigned, boundary.output_unsigned};
}

void look_up_checked(const Source& table, const Source& x, const Target& out, int threads) {
  is_unsigned(table), is_unsigned(x), is_unsigned(out);
  if (table.size() != 256 || x.size() != out.size()) {
    throw std::invalid_argument("a table has 256 entries, and the output the input's size");
  }
  const auto *t = (const uint8_t*)table.data(), *from = (const uint8_t*)x.data();
  auto* to = (uint8_t*)out.data();
  const auto size = (int64_t)x.size();
  checked_threads(threads);
  nb::gil_scoped_release release;
  look_up(t, from, to, size, threads);
}

void look_up_pair_checked(const Source& table, const Source& a, const Source& b, const Target& out,
                          int threads) {
  is_unsigned(table), is_unsigned(a), is_unsigned(b), is_unsigned(out);
  if (table.size() != 65536 || a.size() != out.size() || b.size() != out.size()) {
    throw std::invalid_argument("a table has 65,536 entries, and all arrays one size");
  }
  const auto *t = (const uint8_t*)table.data(), *x = (const uint8_t*)a.data(),
             *y = (const uint8_t*)b.data();
  auto* to = (uint8_t*)out.data();
  const auto size = (int64_t)out.size();
  checked_threads(threads);
  nb::gil_scoped_release release;
  look_up_pair(t, x, y, to, size, threads);
}

Window pool_window(const WindowSizes& sizes) {
  const Window w = window_of(sizes);
  check_window(w);
  if (w.in_c != w.out_c) throw std::invalid_argument("a pool keeps the number of channels");
  return w;
}

void max_pool_checked(const WindowSizes& sizes, const Source& in, const Target& out, int threads) {
  const Window w = pool_window(sizes);
  const bool is_signed = !is_unsigned(in);
  require_bytes(Source(out), !is_signed, "the output");
  const int64_t batch = batch_of(in, w.in_size(), out.size(), w.out_size());
  const auto* from = (const uint8_t*)in.data();
  auto* to = (uint8_t*)out.data();
  checked_threads(threads);
  nb::gil_scoped_release release;
  max_pool(w, is_signed, from, to, batch, threads);
}

void sum_pool_checked(const WindowSizes& sizes, const Source& in, const Target& out, int threads) {
  const Window w = pool_window(sizes);
  const bool is_signed = !is_unsigned(in);
  if (out.dtype() != nb::dtype<int32_t>()) throw std::invalid_argument("sums are int32");
  const int64_t batch = batch_of(in, w.in_size(), out.size(), w.out_size());
  const auto* from = (const uint8_t*)in.data();
  auto* to = (int32_t*)out.data();
  checked_threads(threads);
  nb::gil_scoped_release release;
  sum_pool(w, is_signed, from, to, batch, threads);
}

}  // namespace

NB_MODULE(_core, m) {
  // Kernels that a session still holds when the interpreter ends are no leak worth a warning.
  nb::set_leak_warnings(false);

  m.def("best_level", [] { return std::string(best_level()->name); });
  m.def("has_level", [](const std::string& name) { return find_level(name.c_str()) != nullptr; });

  nb::class_<Boundary>(m, "Boundary")
      .def(
          "__init__",
          [](Boundary* self, bool input_unsigned, int32_t input_zero, bool output_unsigned) {
            new (self) Boundary{input_unsigned, input_zero, output_unsigned};
          },
          "input_unsigned"_a, "input_zero"_a, "output_unsigned"_a);
  nb::class_<Parameters>(m, "Parameters")
      .def(
          "__init__",
          [](Parameters* self, int number, std::vector<int64_t> multiplier,
             std::vector<int64_t> shift, std::vector<double> scale, int32_t zero_point, int32_t low,
             int32_t high) {
            new (self) Parameters{
                number, std::move(multiplier), std::move(shift), std::move(scale), zero_point, low,
                high};
          },
          "number"_a, "multiplier"_a, "shift"_a, "scale"_a, "zero_point"_a, "low"_a, "high"_a);

  nb::class_<PreparedConvolution>(m, "Convolution")
      .def("__call__", &PreparedConvolution::operator(), "x"_a.noconvert(), "out"_a.noconvert(),
           "threads"_a)
      .def_prop_ro("packed_bytes", &PreparedConvolution::packed_bytes);
  nb::class_<PreparedDepthwise>(m, "Depthwise")
      .def("__call__", &PreparedDepthwise::operator(), "x"_a.noconvert(), "out"_a.noconvert(),
           "threads"_a)
      .def_prop_ro("packed_bytes", &PreparedDepthwise::packed_bytes);
  nb::class_<Chain>(m, "Chain")
      .def(nb::init<const std::vector<std::vector<nb::object>>&>(), "links"_a)
      .def("__call__", &Chain::operator(), "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a,
           "ns"_a.noconvert());
  nb::class_<PreparedAddition>(m, "Addition")
      .def("__call__", &PreparedAddition::operator(), "x1"_a.noconvert(), "x2"_a.noconvert(),
           "out"_a.noconvert(), "threads"_a);
  m.def("make_addition", &make_addition, "level"_a, "terms"_a, "inputs_unsigned"_a,
        "output_unsigned"_a);
  m.def("make_convolution", &make_convolution, "level"_a, "window"_a, "groups"_a,
        "weights"_a.noconvert(), "weight_zero"_a, "bias"_a.noconvert().none(), "boundary"_a,
        "parameters"_a);
  m.def("make_depthwise", &make_depthwise, "level"_a, "window"_a, "first_channel"_a,
        "last_channel"_a, "weights"_a.noconvert(), "weight_zero"_a, "bias"_a.noconvert().none(),
        "boundary"_a, "parameters"_a);

  m.def("look_up", &look_up_checked, "table"_a.noconvert(), "x"_a.noconvert(), "out"_a.noconvert(),
        "threads"_a);
  m.def("look_up_pair", &look_up_pair_checked, "table"_a.noconvert(), "a"_a.noconvert(),
        "b"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  m.def("max_pool", &max_pool_checked, "window"_a, "x"_a.noconvert(), "out"_a.noconvert(),
        "threads"_a);
  m.def("sum_pool", &sum_pool_checked, "window"_a, "x"_a.noconvert(), "out"_a.noconvert(),
        "threads"_a);
}
