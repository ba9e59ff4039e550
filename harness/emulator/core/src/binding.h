// What crosses between Python and the core, and how it is checked.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pack.h"
#include "plan.h"
#include "run.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace edgefarm {

using Source = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<nb::c_contig, nb::device::cpu>;
using Times = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bias = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Sizes in the order of Window's members.
using WindowSizes = std::vector<int>;

inline Window window_of(const WindowSizes& sizes) {
  if (sizes.size() != 14) throw std::invalid_argument("a window has 14 sizes");
  Window w;
  int* const members[] = {&w.in_h,       &w.in_w,       &w.in_c,     &w.out_h,    &w.out_w,
                          &w.out_c,      &w.kernel_h,   &w.kernel_w, &w.stride_h, &w.stride_w,
                          &w.dilation_h, &w.dilation_w, &w.pad_top,  &w.pad_left};
  for (size_t i = 0; i < sizes.size(); ++i) *members[i] = sizes[i];
  return w;
}

inline Type type_of(const Source& array) {
  if (array.dtype() == nb::dtype<uint8_t>()) return Type::kUint8;
  if (array.dtype() == nb::dtype<int8_t>()) return Type::kInt8;
  if (array.dtype() == nb::dtype<int16_t>()) return Type::kInt16;
  if (array.dtype() == nb::dtype<int32_t>()) return Type::kInt32;
  if (array.dtype() == nb::dtype<float>()) return Type::kFloat32;
  throw std::invalid_argument("an array is neither int8, uint8, int16, int32 nor float32");
}

inline bool is_unsigned(const Source& array) {
  const Type type = type_of(array);
  if (type != Type::kInt8 && type != Type::kUint8) {
    throw std::invalid_argument("an array is neither int8 nor uint8");
  }
  return type == Type::kUint8;
}

inline void require_type(const Source& array, Type wants, const char* what) {
  if (wants != Type::kAny && type_of(array) != wants) {
    throw std::invalid_argument(std::string(what) + " has elements of another type");
  }
}

// Sizes per item of a batch must match; gives the batch.
inline int64_t batch_of(int64_t in_count, int64_t in_size, int64_t out_count, int64_t out_size) {
  if (in_count % in_size != 0 || out_count != in_count / in_size * out_size) {
    throw std::invalid_argument("input and output do not hold the same number of images");
  }
  return in_count / in_size;
}

// A value that an op does not define.
struct Undefined : std::domain_error {
  using std::domain_error::domain_error;
};


inline int checked_threads(int threads) {
  if (threads < 1 || threads > 256) throw std::invalid_argument("threads: allowed 1 to 256");
  return threads;
}

inline Weights weights_of(const Source& weights, int32_t zero_point, int64_t expected) {
  if ((int64_t)weights.size() != expected) {
    throw std::invalid_argument("the weights do not fit the window");
  }
  return {(const uint8_t*)weights.data(), is_unsigned(weights), zero_point};
}

inline const int32_t* bias_of(const std::optional<Bias>& bias, int channels) {
  if (!bias) return nullptr;
  if ((int64_t)bias->size() != channels) {
    throw std::invalid_argument("the bias needs one value for each output channel");
  }
  return bias->data();
}

inline const Level& level_named(const std::string& name) {
  const Level* level = find_level(name.c_str());
  if (!level) throw std::invalid_argument("level " + name + " does not run here");
  return *level;
}

inline Window pool_window(const WindowSizes& sizes) {
  const Window w = window_of(sizes);
  check_window(w);
  if (w.in_c != w.out_c) throw std::invalid_argument("a pool keeps the number of channels");
  return w;
}

// A kernel from one array to another, any number of items.
inline void call_kernel(const Kernel& kernel, const Source& in, const Target& out, int threads) {
  require_type(in, kernel.input_type(), "the input");
  require_type(Source(out), kernel.output_type(), "the output");
  const int64_t batch = batch_of((int64_t)in.nbytes(), kernel.in_size(0), (int64_t)out.nbytes(),
                                 kernel.out_size());
  const auto* from = (const uint8_t*)in.data();
  auto* to = (uint8_t*)out.data();
  checked_threads(threads);
  bool defined;
  {
    nb::gil_scoped_release release;
    defined = kernel.run(&from, to, batch, kernel.out_size(), threads);
  }
  if (!defined) throw Undefined("a value that the op does not define");
}

// Add the kernels of hybrid ops, those of int16 and float32 tensors, and others to the module.
void bind_hybrid(nb::module_& m);
void bind_wide(nb::module_& m);
void bind_moves(nb::module_& m);

}  // namespace edgefarm
