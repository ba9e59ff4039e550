// The Python binding of products of computed matrices, SOFTMAX by a table, and moves.
#include "binding.h"
#include "products.h"

namespace edgefarm {
namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Runs = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

struct ProductKernel final : Kernel {
  const Level& level;
  MatrixProduct layer;

  ProductKernel(const Level& level, MatrixProduct layer)
      : level(level), layer(std::move(layer)) {}
  int inputs() const override { return 2; }
  int64_t in_size(int input) const override {
    return int64_t{1} * layer.depth * (input == 0 ? layer.rows : layer.columns);
  }
  int64_t out_size() const override { return int64_t{1} * layer.rows * layer.columns; }
  Type input_type() const override { return Type::kAny; }
  Type output_type() const override { return byte_type(layer.output_unsigned); }
  int64_t work(int64_t out_size) const override { return out_size * layer.depth; }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    edgefarm::run(level, layer, in[0], in[1], out, items, threads);
    return true;
  }
  void operator()(const Source& a, const Source& b, const Target& out, int threads) const {
    require_type(a, byte_type(layer.first_unsigned), "the first input");
    require_type(b, byte_type(layer.second_unsigned), "the second input");
    require_type(Source(out), output_type(), "the output");
    const int64_t batch =
        batch_of((int64_t)a.nbytes(), in_size(0), (int64_t)out.nbytes(), out_size());
    batch_of((int64_t)b.nbytes(), in_size(1), (int64_t)out.nbytes(), out_size());
    const uint8_t* const from[] = {(const uint8_t*)a.data(), (const uint8_t*)b.data()};
    auto* to = (uint8_t*)out.data();
    checked_threads(threads);
    nb::gil_scoped_release release;
    run(from, to, batch, out_size(), threads);
  }
};

ProductKernel make_product(const std::string& level_name, const std::vector<int>& sizes,
                           const std::vector<int32_t>& zeros, const std::vector<bool>& flags,
                           const Parameters& parameters) {
  const Level& level = level_named(level_name);
  return {level, pack_product(level, sizes, zeros, flags, parameters)};
}

struct SoftmaxKernel final : Kernel {
  TableSoftmax layer;

  SoftmaxKernel(const Floats& table, int depth, float scale, int32_t zero, bool input_unsigned,
                bool output_unsigned, bool half_added) {
    if (table.size() != 256) throw std::invalid_argument("a table has 256 entries");
    if (depth < 1 || depth > (1 << 24)) throw std::invalid_argument("depth: 1 to 2^24");
    layer = {{table.data(), table.data() + 256}, depth,           scale,     zero,
             input_unsigned,                     output_unsigned, half_added};
  }
  int64_t in_size(int) const override { return layer.depth; }
  int64_t out_size() const override { return layer.depth; }
  Type input_type() const override { return byte_type(layer.input_unsigned); }
  Type output_type() const override { return byte_type(layer.output_unsigned); }
  int64_t work(int64_t out_size) const override { return 4 * out_size; }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    edgefarm::run(layer, in[0], out, items, threads);
    return true;
  }
};

struct MoveKernel final : Kernel {
  Move layer;
  Type type;

  // runs: (n, 2) of first element and count; `like`: an array of the elements' type.
  MoveKernel(const Runs& runs, int64_t in_count, const Source& like, uint32_t fill)
      : type(type_of(like)) {
    if (runs.shape(1) != 2) throw std::invalid_argument("a run has a first element and a count");
    layer.in_count = in_count;
    layer.element = (int)like.itemsize();
    layer.fill = fill;
    for (size_t i = 0; i < runs.shape(0); ++i) {
      const Move::Run run{runs.data()[2 * i], runs.data()[2 * i + 1]};
      if (run.count < 1 || (run.from >= 0 && (int64_t)run.from + run.count > in_count)) {
        throw std::invalid_argument("a run lies outside the input");
      }
      layer.runs.push_back(run);
      layer.out_count += run.count;
    }
    if (in_count < 1 || layer.out_count < 1) throw std::invalid_argument("a move of nothing");
  }
  int64_t in_size(int) const override { return layer.in_count * layer.element; }
  int64_t out_size() const override { return layer.out_count * layer.element; }
  Type input_type() const override { return type; }
  Type output_type() const override { return type; }
  int64_t work(int64_t out_size) const override { return out_size; }
  bool run(const uint8_t* const* in, uint8_t* out, int64_t items, int64_t,
           int threads) const override {
    edgefarm::run(layer, in[0], out, items, threads);
    return true;
  }
};

}  // namespace

void bind_moves(nb::module_& m) {
  nb::class_<ProductKernel, Kernel>(m, "Product")
      .def("__call__", &ProductKernel::operator(), "a"_a.noconvert(), "b"_a.noconvert(),
           "out"_a.noconvert(), "threads"_a);
  nb::class_<SoftmaxKernel, Kernel>(m, "Softmax")
      .def(nb::init<const Floats&, int, float, int32_t, bool, bool, bool>(),
           "table"_a.noconvert(), "depth"_a, "scale"_a, "zero"_a, "input_unsigned"_a,
           "output_unsigned"_a, "half_added"_a)
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  nb::class_<MoveKernel, Kernel>(m, "Move")
      .def(nb::init<const Runs&, int64_t, const Source&, uint32_t>(), "runs"_a.noconvert(),
           "in_count"_a, "like"_a.noconvert(), "fill"_a)
      .def("__call__", &call_kernel, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
  m.def("make_product", &make_product, "level"_a, "sizes"_a, "zeros"_a, "flags"_a, "parameters"_a);
}

}  // namespace edgefarm
