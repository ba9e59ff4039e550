// A program opened with ExecuTorch, ready to run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine.h"
#include "executorch_api.h"

namespace edgefarm {

// Opens ExecuTorch's libraries, each after those that it needs, and last the runner's own one.
// Throws JobError("runtime_missing", …) when one cannot be loaded on this device.
const EdgefarmExecuTorch& open_executorch(const std::vector<std::string>& libraries);

class ExecuTorchEngine : public Engine {
 public:
  // `on_abort` is called where the runtime would end the process; it must not return.
  ExecuTorchEngine(const EdgefarmExecuTorch& api, const std::string& artifact, int threads,
                   bool profiling, void (*on_abort)(const char*));

  const std::vector<ArrayType>& inputs() const override { return inputs_; }
  size_t output_count() const override { return api_.outputs(program_.get()); }

  void set_input(size_t index, const void* data) override;
  void invoke() override;
  Array output(size_t index) override;
  Profile profile(size_t runs, const std::function<void()>& set_inputs) override;

 private:
  void check(EdgefarmStatus status) const;

  const EdgefarmExecuTorch& api_;
  std::unique_ptr<EdgefarmProgram, void (*)(EdgefarmProgram*)> program_;
  std::vector<ArrayType> inputs_;
};

}  // namespace edgefarm
