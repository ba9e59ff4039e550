#include "executorch_engine.h"

#include <dlfcn.h>

#include "job.h"

namespace edgefarm {
namespace {

ArrayType type_of(const EdgefarmArray& array) {
  return {array.descr, {array.shape, array.shape + array.rank}};
}

}  // namespace

const EdgefarmExecuTorch& open_executorch(const std::vector<std::string>& libraries) {
  void* handle = nullptr;
  for (const std::string& library : libraries) {
    // The store names files by content: the loader knows by its soname what is loaded already.
    handle = dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (handle == nullptr) throw JobError("runtime_missing", dlerror());
  }
  void* symbol = handle == nullptr ? nullptr : dlsym(handle, "edgefarm_executorch");
  if (symbol == nullptr) throw JobError("runtime_missing", "ExecuTorch's libraries are not named");
  return *reinterpret_cast<decltype(&edgefarm_executorch)>(symbol)();
}

ExecuTorchEngine::ExecuTorchEngine(const EdgefarmExecuTorch& api, const std::string& artifact,
                                   int threads, bool profiling, void (*on_abort)(const char*))
    : api_(api), program_(nullptr, api.close) {
  EdgefarmProgram* program = nullptr;
  check(api.open(artifact.c_str(), uint32_t(threads), profiling, on_abort, &program));
  program_.reset(program);
  for (size_t i = 0; i < api.inputs(program); ++i) {
    EdgefarmArray array = {};
    check(api.input(program, i, &array));
    inputs_.push_back(type_of(array));
  }
}

void ExecuTorchEngine::check(EdgefarmStatus status) const {
  if (status == kEdgefarmOk) return;
  throw JobError(status == kEdgefarmModel ? "model" : "internal", api_.message());
}

void ExecuTorchEngine::set_input(size_t index, const void* data) {
  check(api_.set_input(program_.get(), index, data));
}

void ExecuTorchEngine::invoke() {
  check(api_.invoke(program_.get()));
}

Array ExecuTorchEngine::output(size_t index) {
  EdgefarmArray array = {};
  check(api_.output(program_.get(), index, &array));
  const auto* begin = static_cast<const uint8_t*>(array.data);
  return {type_of(array), {begin, begin + array.bytes}};
}

Profile ExecuTorchEngine::profile(size_t runs, const std::function<void()>& set_inputs) {
  for (size_t run = 0; run < runs; ++run) {
    set_inputs();
    invoke();
  }
  Profile profile = {};
  for (size_t i = 0; i < api_.steps(program_.get()); ++i) {
    EdgefarmStep step = {};
    api_.step(program_.get(), i, &step);
    const bool in_delegate = step.node < 0;
    profile.ops.push_back({in_delegate ? std::nullopt : std::optional<size_t>(size_t(step.node)),
                           step.op, step.total_ns, runs});
  }
  return profile;
}

}  // namespace edgefarm
