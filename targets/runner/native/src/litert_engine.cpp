#include "litert_engine.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <tuple>

#include "job.h"

namespace edgefarm {
namespace {

using namespace litert;

void check(Status status, const char* call) {
  if (status != kOk) {
    throw JobError("model", std::string(call) + " gives status " + std::to_string(status));
  }
}

// NumPy's name of a LiteRT element type (numbers of the TFLite schema's runtime types).
std::string descr_of(int32_t element) {
  static const std::map<int32_t, const char*> names = {
      {1, "<f4"}, {2, "<i4"},  {3, "|u1"},  {4, "<i8"},  {6, "|b1"},  {7, "<i2"},
      {9, "|i1"}, {10, "<f2"}, {11, "<f8"}, {13, "<u8"}, {16, "<u4"}, {17, "<u2"}};
  const auto found = names.find(element);
  if (found == names.end()) {
    throw JobError("model", "an input or output has element type " + std::to_string(element));
  }
  return found->second;
}

// Sums up the raw events: the runtime's own summary merges equal steps of different partitions.
class Profiler {
 public:
  explicit Profiler(size_t nodes) : nodes_(nodes) {}

  void add(const std::vector<ProfilerEvent>& events) {
    uint64_t partition = 0;  // a delegate counts its steps from 0 in each partition
    for (const ProfilerEvent& event : events) {
      const bool in_delegate = event.type == kDelegateOperatorEvent;
      // A node of the main graph; other graphs are the bodies of its control flow.
      const bool is_node = event.type == kOperatorEvent && event.metadata2 == 0;
      if (!in_delegate && !is_node) continue;
      if (in_delegate && event.metadata1 == 0) ++partition;
      const Key key = {in_delegate ? partition : 0, event.metadata1, event.tag};
      const auto [found, is_new] = position_.try_emplace(key, ops_.size());
      if (is_new) {
        const bool of_model = is_node && event.metadata1 < nodes_;
        ops_.push_back(
            {of_model ? std::optional<size_t>(event.metadata1) : std::nullopt, event.tag, 0, 0});
        if (of_model) ++steps_of_model_;
      }
      ops_[found->second].total_ns += event.elapsed_us * 1000;
    }
  }

  Profile profile(size_t runs) const {
    Profile profile = {ops_, nodes_ - steps_of_model_};
    for (OpTime& op : profile.ops) op.runs = runs;
    return profile;
  }

 private:
  using Key = std::tuple<uint64_t, uint64_t, std::string>;
  const size_t nodes_;
  size_t steps_of_model_ = 0;
  std::vector<OpTime> ops_;
  std::map<Key, size_t> position_;
};

}  // namespace

LiteRtEngine::LiteRtEngine(const Api& api, const std::string& artifact,
                           const std::string& kernels, int threads, bool profiling)
    : api_(api),
      environment_(nullptr, api.DestroyEnvironment),
      model_(nullptr, api.DestroyModel),
      compiled_(nullptr, api.DestroyCompiledModel) {
  // Only the CPU: the library is not to look for those of NPUs and GPUs.
  const EnvironmentOption options[] = {{kAutoRegisterAccelerators, kIntValue, kCpu},
                                       {kMinLoggerSeverity, kIntValue, kSeverityError}};
  EnvironmentT* environment = nullptr;
  check(api.CreateEnvironment(2, options, &environment), "LiteRtCreateEnvironment");
  environment_.reset(environment);
  ModelT* model = nullptr;
  check(api.CreateModelFromFile(environment, artifact.c_str(), &model),
        "LiteRtCreateModelFromFile");
  model_.reset(model);
  compile(kernels, threads, profiling);

  SubgraphT* graph = nullptr;
  check(api.GetModelSubgraph(model, 0, &graph), "LiteRtGetModelSubgraph");
  check(api.GetNumSubgraphOps(graph, &nodes_), "LiteRtGetNumSubgraphOps");
  choose_signature(graph);
  make_inputs();
  make_outputs();
}

void LiteRtEngine::add_options(OptionsT* options, const char* identifier, const std::string& text) {
  OpaqueOptionsT* opaque = nullptr;
  check(api_.CreateOpaqueOptions(identifier, strdup(text.c_str()), std::free, &opaque),
        "LiteRtCreateOpaqueOptions");
  check(api_.AddOpaqueOptions(options, opaque), "LiteRtAddOpaqueOptions");
}

void LiteRtEngine::compile(const std::string& kernels, int threads, bool profiling) {
  OptionsT* raw = nullptr;
  check(api_.CreateOptions(&raw), "LiteRtCreateOptions");
  const Handle<OptionsT> options(raw, api_.DestroyOptions);
  check(api_.SetOptionsHardwareAccelerators(raw, kCpu), "LiteRtSetOptionsHardwareAccelerators");
  const std::string mode = kernels == "xnnpack" ? "delegate" : "builtin";
  add_options(raw, "xnnpack",
              "kernel_mode = \"" + mode + "\"\nnum_threads = " + std::to_string(threads) + "\n");
  if (profiling) add_options(raw, "runtime_options_string", "enable_profiling = true\n");
  CompiledModelT* compiled = nullptr;
  check(api_.CreateCompiledModel(environment_.get(), model_.get(), raw, &compiled),
        "LiteRtCreateCompiledModel");
  compiled_.reset(compiled);
}

void LiteRtEngine::choose_signature(SubgraphT* graph) {
  size_t count = 0;
  check(api_.GetNumModelSignatures(model_.get(), &count), "LiteRtGetNumModelSignatures");
  for (signature_index_ = 0; signature_index_ < count; ++signature_index_) {
    SubgraphT* of_signature = nullptr;
    check(api_.GetModelSignature(model_.get(), signature_index_, &signature_),
          "LiteRtGetModelSignature");
    check(api_.GetSignatureSubgraph(signature_, &of_signature), "LiteRtGetSignatureSubgraph");
    if (of_signature == graph) return;
  }
  throw JobError("model", "no signature runs the model's main graph");
}

// The runtime lists a signature's tensors in the order of its graph, whatever the order of the
// signature in the file (litert/core/model/model_load.cc): so this is the order of the model's
// inputs.
void LiteRtEngine::make_inputs() {
  size_t count = 0;
  check(api_.GetNumSignatureInputs(signature_, &count), "LiteRtGetNumSignatureInputs");
  for (size_t i = 0; i < count; ++i) {
    TensorT* tensor = nullptr;
    RequirementsT* requirements = nullptr;
    check(api_.GetSignatureInputTensorByIndex(signature_, i, &tensor),
          "LiteRtGetSignatureInputTensorByIndex");
    check(api_.GetCompiledModelInputBufferRequirements(compiled_.get(), signature_index_, i,
                                                       &requirements),
          "LiteRtGetCompiledModelInputBufferRequirements");
    make_buffer(tensor, requirements, inputs_);
  }
}

void LiteRtEngine::make_outputs() {
  size_t count = 0;
  check(api_.GetNumSignatureOutputs(signature_, &count), "LiteRtGetNumSignatureOutputs");
  for (size_t i = 0; i < count; ++i) {
    TensorT* tensor = nullptr;
    RequirementsT* requirements = nullptr;
    check(api_.GetSignatureOutputTensorByIndex(signature_, i, &tensor),
          "LiteRtGetSignatureOutputTensorByIndex");
    check(api_.GetCompiledModelOutputBufferRequirements(compiled_.get(), signature_index_, i,
                                                        &requirements),
          "LiteRtGetCompiledModelOutputBufferRequirements");
    make_buffer(tensor, requirements, outputs_);
  }
}

void LiteRtEngine::make_buffer(TensorT* tensor, RequirementsT* requirements, Side& side) {
  TensorType type = {};
  BufferT* buffer = nullptr;
  check(api_.GetRankedTensorType(tensor, &type), "LiteRtGetRankedTensorType");
  side.types.push_back({descr_of(type.element), {type.dimensions, type.dimensions + type.rank()}});
  check(api_.CreateManagedTensorBufferFromRequirements(environment_.get(), &type, requirements,
                                                       &buffer),
        "LiteRtCreateManagedTensorBufferFromRequirements");
  side.owned.emplace_back(buffer, api_.DestroyTensorBuffer);
  side.buffers.push_back(buffer);
}

void LiteRtEngine::set_input(size_t index, const void* data) {
  BufferT* buffer = inputs_.buffers[index];
  void* memory = nullptr;
  size_t bytes = 0;
  check(api_.GetTensorBufferPackedSize(buffer, &bytes), "LiteRtGetTensorBufferPackedSize");
  check(api_.LockTensorBuffer(buffer, &memory, kWrite), "LiteRtLockTensorBuffer");
  std::memcpy(memory, data, bytes);
  check(api_.UnlockTensorBuffer(buffer), "LiteRtUnlockTensorBuffer");
}

void LiteRtEngine::invoke() {
  check(api_.RunCompiledModel(compiled_.get(), signature_index_, inputs_.buffers.size(),
                              inputs_.buffers.data(), outputs_.buffers.size(),
                              outputs_.buffers.data()),
        "LiteRtRunCompiledModel");
}

Array LiteRtEngine::output(size_t index) {
  BufferT* buffer = outputs_.buffers[index];
  void* memory = nullptr;
  size_t bytes = 0;
  check(api_.GetTensorBufferPackedSize(buffer, &bytes), "LiteRtGetTensorBufferPackedSize");
  check(api_.LockTensorBuffer(buffer, &memory, kRead), "LiteRtLockTensorBuffer");
  const auto* begin = static_cast<const uint8_t*>(memory);
  Array copy = {outputs_.types[index], {begin, begin + bytes}};
  check(api_.UnlockTensorBuffer(buffer), "LiteRtUnlockTensorBuffer");
  return copy;
}

Profile LiteRtEngine::profile(size_t runs, const std::function<void()>& set_inputs) {
  ProfilerT* profiler = nullptr;
  check(api_.CompiledModelGetProfiler(compiled_.get(), &profiler),
        "LiteRtCompiledModelGetProfiler");
  Profiler steps(nodes_);
  for (size_t run = 0; run < runs; ++run) {
    set_inputs();
    check(api_.StartProfiler(profiler), "LiteRtStartProfiler");
    invoke();
    check(api_.StopProfiler(profiler), "LiteRtStopProfiler");
    int count = 0;
    check(api_.GetNumProfilerEvents(profiler, &count), "LiteRtGetNumProfilerEvents");
    std::vector<ProfilerEvent> events(static_cast<size_t>(count));
    check(api_.GetProfilerEvents(profiler, count, events.data()), "LiteRtGetProfilerEvents");
    steps.add(events);
  }
  return steps.profile(runs);
}

}  // namespace edgefarm
