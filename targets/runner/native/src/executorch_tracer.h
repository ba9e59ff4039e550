// ExecuTorch's profile: the time of each instruction, and of each step inside a delegate.
#pragma once

#include <executorch/runtime/core/event_tracer.h>

#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace edgefarm {

class Tracer : public executorch::runtime::EventTracer {
 public:
  struct Step {
    int64_t node;  // index of the instruction; -1 inside a delegate
    std::string op;
    uint64_t total_ns;
  };
  const std::vector<Step>& steps() const { return steps_; }

 private:
  using Entry = executorch::runtime::EventTracerEntry;
  using Index = executorch::runtime::DelegateDebugIntId;
  using Tensor = executorch::aten::Tensor;
  template <typename T>
  using Result = executorch::runtime::Result<T>;

  Entry start_profiling(const char* name, executorch::runtime::ChainID chain,
                        executorch::runtime::DebugHandle instruction) override;
  void end_profiling(Entry entry) override;
  Entry start_profiling_delegate(const char* name, Index index) override;
  void end_profiling_delegate(Entry entry, const void* metadata, size_t size) override;
  void log_profiling_delegate(const char* name, Index index, et_timestamp_t start,
                              et_timestamp_t end, const void* metadata, size_t size) override;

  // Nothing but times is kept.
  void track_allocation(executorch::runtime::AllocatorID, size_t) override {}
  executorch::runtime::AllocatorID track_allocator(const char*) override { return 0; }
  void create_event_block(const char*) override {}
  Result<bool> log_evalue(const executorch::runtime::EValue&,
                          executorch::runtime::LoggedEValueType) override {
    return false;
  }
  Result<bool> log_intermediate_output_delegate(const char*, Index, const Tensor&) override {
    return false;
  }
  Result<bool> log_intermediate_output_delegate(
      const char*, Index, const executorch::runtime::ArrayRef<Tensor>) override {
    return false;
  }
  Result<bool> log_intermediate_output_delegate(const char*, Index, const int&) override {
    return false;
  }
  Result<bool> log_intermediate_output_delegate(const char*, Index, const bool&) override {
    return false;
  }
  Result<bool> log_intermediate_output_delegate(const char*, Index, const double&) override {
    return false;
  }
  void set_delegation_intermediate_output_filter(
      executorch::runtime::EventTracerFilterBase*) override {}

  void add(int64_t node, const std::string& op, et_timestamp_t ticks);

  std::vector<Step> steps_;
  // By instruction, place within it (a delegate has several steps, some of one name), name.
  std::map<std::tuple<int64_t, size_t, std::string>, size_t> position_;
  std::vector<std::string> begun_;
  std::string kernel_;  // the last one that ended: the instruction around it is named by it
  size_t delegate_steps_ = 0;
};

}  // namespace edgefarm
