#include "executorch_tracer.h"

#include <executorch/runtime/platform/platform.h>

namespace edgefarm {
namespace {

using namespace executorch::runtime;

const std::string kOperator = "OPERATOR_CALL", kDelegate = "DELEGATE_CALL";
const std::string kKernel = "native_call_";

}  // namespace

void Tracer::add(int64_t node, const std::string& op, et_timestamp_t ticks) {
  const et_tick_ratio_t ratio = pal_ticks_to_ns_multiplier();
  const auto [found, is_new] = position_.try_emplace(
      {int64_t(current_debug_handle()), node < 0 ? delegate_steps_ : 0, op}, steps_.size());
  if (is_new) steps_.push_back({node, op, 0});
  steps_[found->second].total_ns += ticks * ratio.numerator / ratio.denominator;
}

EventTracerEntry Tracer::start_profiling(const char* name, ChainID chain, DebugHandle instruction) {
  if (name == kOperator) kernel_ = name;
  if (name == kDelegate) delegate_steps_ = 0;
  begun_.push_back(name);
  return {int64_t(begun_.size()) - 1, chain, instruction, pal_current_ticks(),
          DelegateDebugIdType::kNone};
}

void Tracer::end_profiling(Entry entry) {
  const et_timestamp_t ticks = pal_current_ticks() - entry.start_time;
  const std::string name = begun_[size_t(entry.event_id)];
  begun_.resize(size_t(entry.event_id));
  if (name.rfind(kKernel, 0) == 0) kernel_ = name.substr(kKernel.size());
  if (name == kOperator) add(int64_t(current_debug_handle()), kernel_, ticks);
  // A delegate that tells its steps is their sum.
  if (name == kDelegate && delegate_steps_ == 0) add(-1, name, ticks);
}

EventTracerEntry Tracer::start_profiling_delegate(const char* name, Index index) {
  begun_.push_back(name != nullptr ? name : "step " + std::to_string(index));
  return {int64_t(begun_.size()) - 1, current_chain_id(), current_debug_handle(),
          pal_current_ticks(), DelegateDebugIdType::kNone};
}

void Tracer::end_profiling_delegate(Entry entry, const void*, size_t) {
  const std::string name = begun_[size_t(entry.event_id)];
  begun_.resize(size_t(entry.event_id));
  log_profiling_delegate(name.c_str(), 0, entry.start_time, pal_current_ticks(), nullptr, 0);
}

void Tracer::log_profiling_delegate(const char* name, Index index, et_timestamp_t start,
                                    et_timestamp_t end, const void*, size_t) {
  ++delegate_steps_;
  add(-1, name != nullptr ? name : "step " + std::to_string(index), end - start);
}

}  // namespace edgefarm
