// The part of the runner that ExecuTorch's C++ headers need; see executorch_api.h.

#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "executorch_api.h"
#include "executorch_tracer.h"

namespace executorch::extension::threadpool {

// The wheel has this library and not its header.
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();

}  // namespace executorch::extension::threadpool

namespace {

using namespace executorch::runtime;
using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::MallocMemoryAllocator;
using executorch::extension::MmapDataLoader;

constexpr size_t kAlignment = 64;

char message[kEdgefarmMessage];   // of the last status that is not ok
char last_words[kEdgefarmMessage];  // the runtime's last error in its log
void (*on_abort)(const char*) = nullptr;

struct Failure {
  EdgefarmStatus status;
};

[[noreturn]] void fail(EdgefarmStatus status, const std::string& text) {
  std::snprintf(message, sizeof(message), "%s", text.c_str());
  throw Failure{status};
}

// The device's fault is what another file might meet too; everything else the runtime says of this
// file or its inputs. MemoryAllocationFailed too: it says so of a memory plan that does not hold.
bool is_machines(Error error) {
  return error == Error::OutOfResources || error == Error::AccessFailed ||
         error == Error::DelegateMemoryAllocationFailed;
}

void check(Error error, const std::string& call) {
  if (error == Error::Ok) return;
  const std::string name = to_string(error);
  const std::string why = last_words[0] == '\0' ? "" : std::string(": ") + last_words;
  fail(is_machines(error) ? kEdgefarmMachine : kEdgefarmModel, call + " gives " + name + why);
}

template <typename T>
T take(Result<T> result, const std::string& call) {
  check(result.error(), call);
  return std::move(result.get());
}

void keep_error(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t,
                const char* text, size_t length) {
  if (level != kError && level != kFatal) return;
  std::snprintf(last_words, sizeof(last_words), "%.*s", int(length), text);
}

void end_of_runtime() {
  on_abort(last_words);
  std::abort();
}

struct ElementType {
  ScalarType scalar;
  const char* descr;
};

const ElementType& element_type(ScalarType scalar, const std::string& what) {
  static const ElementType types[] = {
      {ScalarType::Byte, "|u1"},  {ScalarType::Char, "|i1"},   {ScalarType::Short, "<i2"},
      {ScalarType::Int, "<i4"},   {ScalarType::Long, "<i8"},   {ScalarType::Half, "<f2"},
      {ScalarType::Float, "<f4"}, {ScalarType::Double, "<f8"}, {ScalarType::Bool, "|b1"},
      {ScalarType::UInt16, "<u2"}, {ScalarType::UInt32, "<u4"}, {ScalarType::UInt64, "<u8"}};
  for (const ElementType& type : types) {
    if (type.scalar == scalar) return type;
  }
  fail(kEdgefarmModel, what + " has element type " + std::to_string(int(scalar)));
}

template <typename Sizes>
void describe(EdgefarmArray* array, ScalarType scalar, const Sizes& sizes, const std::string& what) {
  if (sizes.size() > kEdgefarmMaxRank) fail(kEdgefarmModel, what + " has too many dimensions");
  *array = {};
  std::snprintf(array->descr, sizeof(array->descr), "%s", element_type(scalar, what).descr);
  array->rank = sizes.size();
  array->bytes = executorch::runtime::elementSize(scalar);
  for (size_t i = 0; i < sizes.size(); ++i) {
    array->shape[i] = size_t(sizes[i]);
    array->bytes *= size_t(sizes[i]);
  }
}

struct Input {
  ScalarType scalar;
  std::vector<TensorImpl::SizesType> sizes;
  std::vector<TensorImpl::DimOrderType> order;
  std::vector<TensorImpl::StridesType> strides;
  size_t bytes;
  std::vector<uint8_t> data;  // the program may go on reading it, and may write it
};

// Copies a tensor of any order of dimensions into C order.
void copy_in_order(const Tensor& tensor, size_t dimension, const uint8_t* from, uint8_t*& to) {
  const size_t item = size_t(tensor.element_size());
  if (dimension == size_t(tensor.dim())) {
    std::memcpy(to, from, item);
    to += item;
    return;
  }
  const ssize_t count = tensor.sizes()[dimension], stride = tensor.strides()[dimension];
  for (ssize_t i = 0; i < count; ++i) {
    copy_in_order(tensor, dimension + 1, from + size_t(i * stride) * item, to);
  }
}

bool in_c_order(const Tensor& tensor) {
  for (size_t i = 0; i < tensor.dim_order().size(); ++i) {
    if (tensor.dim_order()[i] != i) return false;
  }
  return true;
}

}  // namespace

struct EdgefarmProgram {
  EdgefarmProgram(const char* path, bool profiling)
      : loader(take(MmapDataLoader::from(path, MmapDataLoader::MlockConfig::NoMlock), path)),
        program(take(Program::load(&loader, Program::Verification::InternalConsistency),
                     "loading the program")) {
    const MethodMeta meta = take(program.method_meta("forward"), "the program's forward");
    plan_memory(meta);
    memory.emplace(&method_allocator, &planned, &temporary);
    method.emplace(take(program.load_method("forward", &*memory, profiling ? &tracer : nullptr),
                        "preparing the program's forward"));
    for (size_t i = 0; i < meta.num_inputs(); ++i) add_input(meta, i);
    for (size_t i = 0; i < meta.num_outputs(); ++i) add_output(meta, i);
  }

  void plan_memory(const MethodMeta& meta) {
    for (size_t i = 0; i < meta.num_memory_planned_buffers(); ++i) {
      const int64_t bytes = take(meta.memory_planned_buffer_size(i), "the program's memory plan");
      buffers.emplace_back(allocate(bytes));
      spans.emplace_back(buffers.back().get(), size_t(bytes));
    }
    planned = HierarchicalAllocator({spans.data(), spans.size()});
  }

  using Memory = std::unique_ptr<uint8_t, void (*)(void*)>;
  static Memory allocate(int64_t bytes) {
    constexpr int64_t kMost = int64_t(1) << 46;  // beyond what any address space here has
    void* memory = bytes < 0 || bytes > kMost
                       ? nullptr
                       : std::aligned_alloc(kAlignment, (size_t(bytes) + kAlignment) & ~(kAlignment - 1));
    if (memory == nullptr) {
      fail(kEdgefarmModel, "the program plans " + std::to_string(bytes) +
                               " bytes of memory, which this machine does not give");
    }
    return Memory(static_cast<uint8_t*>(memory), std::free);
  }

  void add_input(const MethodMeta& meta, size_t index) {
    const std::string what = "input " + std::to_string(index);
    const TensorInfo info = take(meta.input_tensor_meta(index), what);
    EdgefarmArray array;
    describe(&array, info.scalar_type(), info.sizes(), what);
    Input input = {info.scalar_type(), {info.sizes().begin(), info.sizes().end()}, {}, {},
                   array.bytes, std::vector<uint8_t>(array.bytes)};
    TensorImpl::StridesType stride = 1;
    input.strides.resize(array.rank);
    for (size_t i = 0; i < array.rank; ++i) {
      input.order.push_back(TensorImpl::DimOrderType(i));
      const size_t from_behind = array.rank - 1 - i;
      input.strides[from_behind] = stride;
      stride *= input.sizes[from_behind];
    }
    inputs.push_back(std::move(input));
  }

  // Outputs that are not of the memory plan need memory of their own, given before each run.
  void add_output(const MethodMeta& meta, size_t index) {
    const std::string what = "output " + std::to_string(index);
    const TensorInfo info = take(meta.output_tensor_meta(index), what);
    own_outputs.emplace_back(info.is_memory_planned() ? 0 : info.nbytes());
  }

  MmapDataLoader loader;
  Program program;
  edgefarm::Tracer tracer;
  MallocMemoryAllocator method_allocator, temporary;
  std::vector<Memory> buffers;
  std::vector<Span<uint8_t>> spans;
  HierarchicalAllocator planned{{}};
  std::optional<MemoryManager> memory;
  std::optional<Method> method;
  std::vector<Input> inputs;
  std::vector<std::vector<uint8_t>> own_outputs;
  std::vector<uint8_t> in_order;
};

namespace {

// Nothing but a status crosses the border.
template <typename Call>
EdgefarmStatus guarded(const Call& call) {
  last_words[0] = '\0';
  try {
    call();
    return kEdgefarmOk;
  } catch (const Failure& failure) {
    return failure.status;
  } catch (const std::bad_alloc&) {
    std::snprintf(message, sizeof(message), "out of memory");
  } catch (const std::exception& error) {
    std::snprintf(message, sizeof(message), "%s", error.what());
  }
  return kEdgefarmMachine;
}

EdgefarmStatus open(const char* path, uint32_t threads, bool profiling,
                    void (*abort_function)(const char*), EdgefarmProgram** program) {
  on_abort = abort_function;
  register_pal(PalImpl::create(nullptr, end_of_runtime, nullptr, nullptr, keep_error, nullptr,
                               nullptr, __FILE__));
  runtime_init();
  return guarded([&] {
    auto* pool = executorch::extension::threadpool::get_threadpool();
    if (pool == nullptr || !pool->_unsafe_reset_threadpool(threads)) {
      fail(kEdgefarmMachine, "the runtime takes no " + std::to_string(threads) + " threads");
    }
    *program = new EdgefarmProgram(path, profiling);
  });
}

void close(EdgefarmProgram* program) {
  delete program;
}

size_t count_inputs(const EdgefarmProgram* program) {
  return program->inputs.size();
}

size_t count_outputs(const EdgefarmProgram* program) {
  return program->own_outputs.size();
}

EdgefarmStatus describe_input(EdgefarmProgram* program, size_t index, EdgefarmArray* array) {
  return guarded([&] {
    const Input& input = program->inputs[index];
    describe(array, input.scalar, input.sizes, "input " + std::to_string(index));
  });
}

EdgefarmStatus set_input(EdgefarmProgram* program, size_t index, const void* data) {
  return guarded([&] {
    Input& input = program->inputs[index];
    std::memcpy(input.data.data(), data, input.bytes);
    TensorImpl impl(input.scalar, ssize_t(input.sizes.size()), input.sizes.data(),
                    input.data.data(), input.order.data(), input.strides.data());
    check(program->method->set_input(EValue(Tensor(&impl)), index),
          "input " + std::to_string(index));
  });
}

EdgefarmStatus invoke(EdgefarmProgram* program) {
  return guarded([&] {
    for (size_t i = 0; i < program->own_outputs.size(); ++i) {
      std::vector<uint8_t>& memory = program->own_outputs[i];
      if (memory.empty()) continue;
      check(program->method->set_output_data_ptr(memory.data(), memory.size(), i),
            "output " + std::to_string(i));
    }
    check(program->method->execute(), "running the program");
  });
}

EdgefarmStatus describe_output(EdgefarmProgram* program, size_t index, EdgefarmArray* array) {
  return guarded([&] {
    const std::string what = "output " + std::to_string(index);
    const EValue& value = program->method->get_output(index);
    if (!value.isTensor()) fail(kEdgefarmModel, what + " is not a tensor");
    const Tensor& tensor = value.toTensor();
    describe(array, tensor.scalar_type(), tensor.sizes(), what);
    array->data = tensor.const_data_ptr();
    if (array->bytes == 0 || in_c_order(tensor)) return;
    program->in_order.resize(array->bytes);
    uint8_t* to = program->in_order.data();
    copy_in_order(tensor, 0, static_cast<const uint8_t*>(tensor.const_data_ptr()), to);
    array->data = program->in_order.data();
  });
}

size_t count_steps(const EdgefarmProgram* program) {
  return program->tracer.steps().size();
}

void describe_step(const EdgefarmProgram* program, size_t index, EdgefarmStep* step) {
  const edgefarm::Tracer::Step& found = program->tracer.steps()[index];
  *step = {found.node, found.op.c_str(), found.total_ns};
}

const char* last_message() {
  return message;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const EdgefarmExecuTorch* edgefarm_executorch() {
  static const EdgefarmExecuTorch api = {open,          close,     count_inputs, count_outputs,
                                         describe_input, set_input, invoke,       describe_output,
                                         count_steps,   describe_step, last_message};
  return &api;
}
