// A model opened with LiteRT, ready to run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine.h"
#include "litert_api.h"
#include "npy.h"

namespace edgefarm {

class LiteRtEngine : public Engine {
 public:
  // Throws JobError("model", …) when the runtime refuses the file.
  LiteRtEngine(const litert::Api& api, const std::string& artifact, const std::string& kernels,
               int threads, bool profiling);

  // In the order of the model's main graph.
  const std::vector<ArrayType>& inputs() const override { return inputs_.types; }
  size_t output_count() const override { return outputs_.types.size(); }

  void set_input(size_t index, const void* data) override;
  void invoke() override;
  Array output(size_t index) override;
  Profile profile(size_t runs, const std::function<void()>& set_inputs) override;

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

  const litert::Api api_;
  Handle<litert::EnvironmentT> environment_;
  Handle<litert::ModelT> model_;
  Handle<litert::CompiledModelT> compiled_;
  litert::SignatureT* signature_ = nullptr;
  size_t signature_index_ = 0;
  size_t nodes_ = 0;
  Side inputs_, outputs_;
};

}  // namespace edgefarm
