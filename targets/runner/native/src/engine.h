// A model opened with a runtime, ready to run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "npy.h"

namespace edgefarm {

// Time of one step of the execution plan, summed over the profiled runs.
struct OpTime {
  std::optional<size_t> node;  // in the model; none inside a delegate
  std::string op;
  uint64_t total_ns;
  size_t runs;
};

struct Profile {
  std::vector<OpTime> ops;
  std::optional<size_t> delegated;  // nodes that delegates took; none where the runtime is silent
};

// An array in memory, C-ordered.
struct Array {
  ArrayType type;
  std::vector<uint8_t> bytes;
};

// Every function throws JobError("model", …) when the runtime refuses.
class Engine {
 public:
  virtual ~Engine() = default;

  // In the order of the model's inputs.
  virtual const std::vector<ArrayType>& inputs() const = 0;
  virtual size_t output_count() const = 0;

  virtual void set_input(size_t index, const void* data) = 0;
  virtual void invoke() = 0;
  // A copy of an output of the last run.
  virtual Array output(size_t index) = 0;

  // Runs under the runtime's profiler; the engine must have been made for it. `set_inputs` is
  // called before each run.
  virtual Profile profile(size_t runs, const std::function<void()>& set_inputs) = 0;
};

}  // namespace edgefarm
