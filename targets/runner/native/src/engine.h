// A model opened with LiteRT, ready to run.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "litert_api.h"
#include "npy.h"

namespace edgefarm {

// Time of one step of the execution plan, summed over the profiled runs.
struct OpTime {
  std::optional<size_t> node;  // in the model's main graph; none inside a delegate
  std::string op;
  uint64_t total_ns;
  size_t runs;
};

struct Profile {
  std::vector<OpTime> ops;
  size_t delegated;  // nodes of the main graph that are not steps of the plan themselves
};

class Engine {
 public:
  // Throws JobError("model", …) when the runtime refuses the file.
  Engine(const litert::Api& api, const std::string& artifact, const std::string& kernels,
         int threads, bool profiling);

  // In the order of the model's main graph.
  const std::vector<ArrayType>& inputs() const { return inputs_.types; }
  const std::vector<ArrayType>& outputs() const { return outputs_.types; }

  void set_input(size_t index, const void* data);
  void invoke();
  std::vector<uint8_t> output(size_t index);

  // Runs under the runtime's profiler; the engine must have been made with `profiling`.
  // `set_inputs` is called before each run.
  Profile profile(size_t runs, const std::function<void()>& set_inputs);

 private:
  template <typename T>
  using Handle = std::unique_ptr<T, void (*)(T*)>;
  using Buffer = Handle<litert::BufferT>;

  struct Side {
    std::vector<Buffer> owned;
    std::vector<litert::BufferT*> buffers;  // the same, as a run takes them
    std::vector<ArrayType> types;
  };

  void compile(const std::string& kernels, int threads, bool profiling);
  void choose_signature(litert::SubgraphT* graph);
  void make_inputs();
  void make_outputs();
  void make_buffer(litert::TensorT* tensor, litert::RequirementsT* requirements, Side& side);
  void add_options(litert::OptionsT* options, const char* identifier, const std::string& text);

  const litert::Api& api_;
  Handle<litert::EnvironmentT> environment_;
  Handle<litert::ModelT> model_;
  Handle<litert::CompiledModelT> compiled_;
  litert::SignatureT* signature_ = nullptr;
  size_t signature_index_ = 0;
  size_t nodes_ = 0;
  Side inputs_, outputs_;
};

}  // namespace edgefarm
