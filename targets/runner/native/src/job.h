// The job as harness/protocol.py writes it, and the error that ends one.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace edgefarm {

// A failure that the protocol has a name for: model, runtime_missing, artifact, disk_full,
// internal.
class JobError : public std::runtime_error {
 public:
  JobError(std::string failure_kind, const std::string& message)
      : std::runtime_error(message), kind(std::move(failure_kind)) {}
  const std::string kind;
};

struct Job {
  std::string runtime;
  std::string artifact;
  std::string sha256;
  std::vector<std::string> inputs;
  std::string kernels;
  int threads = 1;
  bool outputs = true;
  size_t warmup_runs = 0;
  size_t timed_runs = 0;
  double min_time_s = 0;
  size_t profiled_runs = 0;
};

// Throws JobError("internal", …) when it is not a job of this protocol.
Job read_job(const std::string& path);

}  // namespace edgefarm
