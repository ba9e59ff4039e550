// The Python binding. Everything that crosses it is checked here: a wrong shape or dtype ends in an
// exception, never in a read outside an array.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "pack.h"
#include "plan.h"
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

Window pool_window(const WindowSizes& sizes) {
  const Window w = window_of(sizes);
  check_window(w);
  if (w.in_c != w.out_c) throw std::invalid_argument("a pool keeps the number of channels");
  return w;
}

// A packed layer with the level it is packed for.
template <class Layer>
struct Prepared final : Kernel {
  const Level& level;
  Layer layer;
  bool from_unsigned, to_unsigned;

  Prepared(const Level& level, Layer layer, const Boundary& boundary)
      : level(level),
        layer(std::move(layer)),
        from_unsigned(boundary.input_unsigned),
        to_unsigned(boundary.output_unsigned) {}

  int64_t in_size() const override { return layer.window.in_size(); }
  int64_t out_size() const override { return layer.window.out_size(); }
  std::optional<bool> input_unsigned() const override { return from_unsigned; }
  bool output_unsigned() const override { return to_unsigned; }
  int64_t work(int64_t out_size) const override {
    return out_size * (int64_t)layer.weights.size() / std::max(1, layer.window.out_c);
  }
  void run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    edgefarm::run(level, layer, in[0], out, items, threads);
  }

  void operator()(const Source& in, const Target& out, int threads) const {
    require_bytes(in, from_unsigned, "the input");
    require_bytes(Source(out), to_unsigned, "the output");
    const int64_t batch = batch_of(in, in_size(), out.size(), out_size());
    const auto* from = (const uint8_t*)in.data();
    auto* to = (uint8_t*)out.data();
    checked_threads(threads);
    nb::gil_scoped_release release;
    run(&from, to, batch, out_size(), threads);
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

// An op on bytes element by element: every array has one size.
template <int kInputs>
struct Elementwise : Kernel {
  int inputs() const override { return kInputs; }
  int64_t work(int64_t out_size) const override { return out_size; }

  void call(const std::array<const Source*, kInputs>& in, const Target& out, int threads) const {
    std::array<const uint8_t*, kInputs> from;
    for (int i = 0; i < kInputs; ++i) {
      const auto wants = input_unsigned();
      if (is_unsigned(*in[i]) != wants.value_or(is_unsigned(*in[i]))) {
        throw std::invalid_argument("an input has the wrong signedness");
      }
      if (in[i]->size() != out.size()) throw std::invalid_argument("all arrays need one size");
      from[i] = (const uint8_t*)in[i]->data();
    }
    require_bytes(Source(out), output_unsigned(), "the output");
    auto* to = (uint8_t*)out.data();
    const auto size = (int64_t)out.size();
    checked_threads(threads);
    nb::gil_scoped_release release;
    run(from.data(), to, 1, size, threads);
  }
};

struct PreparedAddition final : Elementwise<2> {
  const Level& level;
  Addition layer;
  bool inputs_unsigned, to_unsigned;

  PreparedAddition(const Level& level, const Addition& layer, bool inputs_unsigned,
                   bool to_unsigned)
      : level(level), layer(layer), inputs_unsigned(inputs_unsigned), to_unsigned(to_unsigned) {}

  std::optional<bool> input_unsigned() const override { return inputs_unsigned; }
  bool output_unsigned() const override { return to_unsigned; }
  void run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t size,
           int threads) const override {
    edgefarm::run(level, layer, in[0], in[1], out, items * size, threads);
  }
};

// out = table[bits of the inputs], of one input or of a pair.
template <int kInputs>
struct Table final : Elementwise<kInputs> {
  std::vector<uint8_t> entries;
  bool to_unsigned;

  explicit Table(const Source& table) : to_unsigned(is_unsigned(table)) {
    if (table.size() != (kInputs == 1 ? 256 : 65536)) {
      throw std::invalid_argument("a table has 256 entries, for pairs 65,536");
    }
    const auto* first = (const uint8_t*)table.data();
    entries.assign(first, first + table.size());
  }
  bool output_unsigned() const override { return to_unsigned; }
  void run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t size,
           int threads) const override {
    if constexpr (kInputs == 1) {
      look_up(entries.data(), in[0], out, items * size, threads);
    } else {
      look_up_pair(entries.data(), in[0], in[1], out, items * size, threads);
    }
  }
};

struct MaxPool final : Kernel {
  Window window;
  bool bytes_unsigned;

  MaxPool(const WindowSizes& sizes, bool bytes_unsigned)
      : window(pool_window(sizes)), bytes_unsigned(bytes_unsigned) {}

  int64_t in_size() const override { return window.in_size(); }
  int64_t out_size() const override { return window.out_size(); }
  std::optional<bool> input_unsigned() const override { return bytes_unsigned; }
  bool output_unsigned() const override { return bytes_unsigned; }
  int64_t work(int64_t out_size) const override {
    return out_size * window.kernel_h * window.kernel_w;
  }
  void run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    max_pool(window, !bytes_unsigned, in[0], out, items, threads);
  }
  void operator()(const Source& in, const Target& out, int threads) const {
    require_bytes(in, bytes_unsigned, "the input");
    require_bytes(Source(out), bytes_unsigned, "the output");
    const int64_t batch = batch_of(in, in_size(), out.size(), out_size());
    const auto* from = (const uint8_t*)in.data();
    auto* to = (uint8_t*)out.data();
    checked_threads(threads);
    nb::gil_scoped_release release;
    run(&from, to, batch, out_size(), threads);
  }
};

// A plan with the kernels that it calls; arrays are checked against its slots.
class BoundPlan {
 public:
  // Each link: its kernels, the slots that it takes, the slot that it fills.
  using Links = std::vector<std::tuple<std::vector<nb::object>, std::vector<int>, int>>;

  BoundPlan(const Links& links, std::vector<int64_t> sizes, std::vector<int> takes,
            std::vector<int> gives)
      : plan_(kernels_of(links), std::move(sizes), std::move(takes), std::move(gives)) {
    for (const auto& link : links) {
      for (const nb::object& kernel : std::get<0>(link)) owners_.push_back(kernel);
    }
  }

  void operator()(const std::vector<Source>& in, const std::vector<Target>& out, int threads,
                  const Times& ns) const {
    if (in.size() != plan_.takes().size() || out.size() != plan_.gives().size()) {
      throw std::invalid_argument("an array for each slot that the plan takes and gives");
    }
    if (ns.size() != plan_.links().size()) throw std::invalid_argument("a time for each link");
    int64_t items = -1;
    std::vector<const uint8_t*> from;
    std::vector<uint8_t*> to;
    for (size_t i = 0; i < in.size(); ++i) {
      check(in[i], plan_.takes()[i], items);
      from.push_back((const uint8_t*)in[i].data());
    }
    for (size_t i = 0; i < out.size(); ++i) {
      check(Source(out[i]), plan_.gives()[i], items);
      to.push_back((uint8_t*)out[i].data());
    }
    checked_threads(threads);
    int64_t* const time = ns.data();
    nb::gil_scoped_release release;
    plan_.run(from, to, items, threads, time);
  }
  int64_t arena_bytes() const { return plan_.arena_bytes(); }

 private:
  static std::vector<Link> kernels_of(const Links& links) {
    std::vector<Link> found;
    for (const auto& [kernels, inputs, output] : links) {
      Link link;
      for (const nb::object& kernel : kernels) {
        link.kernels.push_back(nb::cast<const Kernel*>(kernel));
      }
      link.inputs = inputs;
      link.output = output;
      found.push_back(std::move(link));
    }
    return found;
  }
  void check(const Source& array, int slot, int64_t& items) const {
    const bool has = is_unsigned(array);
    if (plan_.is_unsigned(slot).value_or(has) != has) {
      throw std::invalid_argument("an array has the wrong signedness");
    }
    const int64_t size = plan_.sizes()[(size_t)slot], count = (int64_t)array.size();
    if (count % size != 0 || (items >= 0 && count / size != items)) {
      throw std::invalid_argument("the arrays do not hold the same number of items");
    }
    items = count / size;
  }

  Plan plan_;
  std::vector<nb::object> owners_;  // keeps the kernels alive
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
          boundary};
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
          boundary};
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

  nb::class_<Kernel>(m, "Kernel");
  nb::class_<PreparedConvolution, Kernel>(m, "Convolution")
      .def("__call__", &PreparedConvolution::operator(), "x"_a.noconvert(), "out"_a.noconvert(),
           "threads"_a)
      .def_prop_ro("packed_bytes", &PreparedConvolution::packed_bytes);
  nb::class_<PreparedDepthwise, Kernel>(m, "Depthwise")
      .def("__call__", &PreparedDepthwise::operator(), "x"_a.noconvert(), "out"_a.noconvert(),
           "threads"_a)
      .def_prop_ro("packed_bytes", &PreparedDepthwise::packed_bytes);
  nb::class_<MaxPool, Kernel>(m, "MaxPool")
      .def(nb::init<const WindowSizes&, bool>(), "window"_a, "is_unsigned"_a)
      .def("__call__", &MaxPool::operator(), "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<Table<1>, Kernel>(m, "Table")
      .def(nb::init<const Source&>(), "table"_a.noconvert())
      .def(
          "__call__",
          [](const Table<1>& self, const Source& x, const Target& out, int threads) {
            self.call({&x}, out, threads);
          },
          "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<Table<2>, Kernel>(m, "PairTable")
      .def(nb::init<const Source&>(), "table"_a.noconvert())
      .def(
          "__call__",
          [](const Table<2>& self, const Source& a, const Source& b, const Target& out,
             int threads) { self.call({&a, &b}, out, threads); },
          "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<PreparedAddition, Kernel>(m, "Addition")
      .def(
          "__call__",
          [](const PreparedAddition& self, const Source& a, const Source& b, const Target& out,
             int threads) { self.call({&a, &b}, out, threads); },
          "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<BoundPlan>(m, "Plan")
      .def(nb::init<const BoundPlan::Links&, std::vector<int64_t>, std::vector<int>,
                    std::vector<int>>(),
           "links"_a, "sizes"_a, "takes"_a, "gives"_a)
      .def("__call__", &BoundPlan::operator(), "inputs"_a.noconvert(), "outputs"_a.noconvert(),
           "threads"_a, "ns"_a.noconvert())
      .def_prop_ro("arena_bytes", &BoundPlan::arena_bytes);
  m.def("make_addition", &make_addition, "level"_a, "terms"_a, "inputs_unsigned"_a,
        "output_unsigned"_a);
  m.def("make_convolution", &make_convolution, "level"_a, "window"_a, "groups"_a,
        "weights"_a.noconvert(), "weight_zero"_a, "bias"_a.noconvert().none(), "boundary"_a,
        "parameters"_a);
  m.def("make_depthwise", &make_depthwise, "level"_a, "window"_a, "first_channel"_a,
        "last_channel"_a, "weights"_a.noconvert(), "weight_zero"_a, "bias"_a.noconvert().none(),
        "boundary"_a, "parameters"_a);

  m.def("sum_pool", &sum_pool_checked, "window"_a, "x"_a.noconvert(), "out"_a.noconvert(),
        "threads"_a);
}
