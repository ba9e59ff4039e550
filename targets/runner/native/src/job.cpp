#include "job.h"

#include <nlohmann/json.hpp>

#include "files.h"

namespace edgefarm {

Job read_job(const std::string& path) {
  constexpr int kSchema = 1;
  const std::optional<std::string> text = read_text(path);
  if (!text) throw JobError("internal", path + " cannot be read");
  try {
    const nlohmann::json json = nlohmann::json::parse(*text);
    if (json.at("schema") != kSchema) throw JobError("internal", "another protocol schema");
    Job job;
    json.at("runtime").get_to(job.runtime);
    json.at("artifact").get_to(job.artifact);
    json.at("sha256").get_to(job.sha256);
    json.at("inputs").get_to(job.inputs);
    json.at("kernels").get_to(job.kernels);
    json.at("threads").get_to(job.threads);
    json.at("outputs").get_to(job.outputs);
    json.at("warmup_runs").get_to(job.warmup_runs);
    json.at("timed_runs").get_to(job.timed_runs);
    json.at("min_time_s").get_to(job.min_time_s);
    json.at("profiled_runs").get_to(job.profiled_runs);
    return job;
  } catch (const nlohmann::json::exception& error) {
    throw JobError("internal", path + ": " + error.what());
  }
}

}  // namespace edgefarm
