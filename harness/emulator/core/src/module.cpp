// The Python binding. Everything that crosses it is checked here: a wrong shape or dtype ends in an
// exception, never in a read outside an array.
#include "binding.h"

#include <algorithm>
#include <tuple>

using namespace edgefarm;

namespace {

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

  int64_t in_size(int) const override { return layer.window.in_size(); }
  int64_t out_size() const override { return layer.window.out_size(); }
  Type input_type() const override { return byte_type(from_unsigned); }
  Type output_type() const override { return byte_type(to_unsigned); }
  int64_t work(int64_t out_size) const override {
    return out_size * (int64_t)layer.weights.size() / std::max(1, layer.window.out_c);
  }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    edgefarm::run(level, layer, in[0], out, items, threads);
    return true;
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
      require_type(*in[i], input_type(), "an input");
      is_unsigned(*in[i]);  // or throws
      if (in[i]->size() != out.size()) throw std::invalid_argument("all arrays need one size");
      from[i] = (const uint8_t*)in[i]->data();
    }
    require_type(Source(out), output_type(), "the output");
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

  Type input_type() const override { return byte_type(inputs_unsigned); }
  Type output_type() const override { return byte_type(to_unsigned); }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t size,
           int threads) const override {
    edgefarm::run(level, layer, in[0], in[1], out, items * size, threads);
    return true;
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
  Type output_type() const override { return byte_type(to_unsigned); }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t size,
           int threads) const override {
    if constexpr (kInputs == 1) {
      look_up(entries.data(), in[0], out, items * size, threads);
    } else {
      look_up_pair(entries.data(), in[0], in[1], out, items * size, threads);
    }
    return true;
  }
};

struct MaxPool final : Kernel {
  Window window;
  bool bytes_unsigned;

  MaxPool(const WindowSizes& sizes, bool bytes_unsigned)
      : window(pool_window(sizes)), bytes_unsigned(bytes_unsigned) {}

  int64_t in_size(int) const override { return window.in_size(); }
  int64_t out_size() const override { return window.out_size(); }
  Type input_type() const override { return byte_type(bytes_unsigned); }
  Type output_type() const override { return byte_type(bytes_unsigned); }
  int64_t work(int64_t out_size) const override {
    return out_size * window.kernel_h * window.kernel_w;
  }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    max_pool(window, !bytes_unsigned, in[0], out, items, threads);
    return true;
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
    bool defined;
    {
      nb::gil_scoped_release release;
      defined = plan_.run(from, to, items, threads, time);
    }
    if (!defined) throw Undefined("a value that an op does not define");
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
    require_type(array, plan_.type_of(slot), "an array");
    const int64_t size = plan_.sizes()[(size_t)slot], count = (int64_t)array.nbytes();
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
  const int64_t batch =
      batch_of((int64_t)in.size(), w.in_size(), (int64_t)out.size(), w.out_size());
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

  nb::exception<Undefined>(m, "Undefined", PyExc_ArithmeticError);
  nb::class_<Kernel>(m, "Kernel");
  nb::class_<PreparedConvolution, Kernel>(m, "Convolution")
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(),
           "threads"_a)
      .def_prop_ro("packed_bytes", &PreparedConvolution::packed_bytes);
  nb::class_<PreparedDepthwise, Kernel>(m, "Depthwise")
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(),
           "threads"_a)
      .def_prop_ro("packed_bytes", &PreparedDepthwise::packed_bytes);
  nb::class_<MaxPool, Kernel>(m, "MaxPool")
      .def(nb::init<const WindowSizes&, bool>(), "window"_a, "is_unsigned"_a)
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
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
  bind_hybrid(m);
  bind_wide(m);
  bind_moves(m);
}
