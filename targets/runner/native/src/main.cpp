// The native runner: `edgefarm-runner LIBRARY VERSION JOBDIR` obeys harness/protocol.py.
//
// LIBRARY is the path of libLiteRt.so, VERSION what the host knows it to be (the library does not
// tell). Whatever the runner can name becomes `failure` in out/result.json, with exit status 0;
// only a crash or a kill leaves no result.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine.h"
#include "files.h"
#include "job.h"
#include "litert_api.h"
#include "machine.h"
#include "npy.h"
#include "sha256.h"

namespace edgefarm {
namespace {

using nlohmann::json;

constexpr int kSchema = 1;
constexpr size_t kMaxTimedRuns = 10000;

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string describe(const ArrayType& type) {
  std::string text = type.descr + " (";
  for (const size_t n : type.shape) text += std::to_string(n) + ", ";
  return text + ")";
}

size_t batch_of(const ArrayType& type) {
  return type.shape.empty() ? 1 : type.shape[0];
}

size_t slice_bytes(const ArrayType& type) {
  return batch_of(type) * type.row_bytes();
}

// How many invocations the inputs are, once they are known to fit the model.
size_t count_slices(const std::vector<NpyInput>& arrays, const std::vector<ArrayType>& types) {
  if (arrays.size() != types.size()) {
    throw JobError("model", "the model has " + std::to_string(types.size()) + " inputs, the job " +
                                std::to_string(arrays.size()));
  }
  size_t slices = 0;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const ArrayType& got = arrays[i].type();
    const size_t batch = batch_of(types[i]), rows = batch_of(got);
    const bool same_rows =
        types[i].shape.empty()
            ? got.shape.size() == 1
            : got.shape.size() == types[i].shape.size() &&
                  std::equal(got.shape.begin() + 1, got.shape.end(), types[i].shape.begin() + 1);
    if (got.descr != types[i].descr || !same_rows || rows % batch != 0 ||
        (i > 0 && rows / batch != slices)) {
      throw JobError("model", "input " + std::to_string(i) + ": takes " + describe(types[i]) +
                                  ", got " + describe(got));
    }
    slices = rows / batch;
  }
  return slices;
}

void set_slice(Engine& engine, const std::vector<NpyInput>& arrays, size_t number) {
  for (size_t i = 0; i < arrays.size(); ++i) {
    engine.set_input(i, arrays[i].data() + number * slice_bytes(engine.inputs()[i]));
  }
}

json write_outputs(Engine& engine, const std::vector<NpyInput>& arrays, size_t slices,
                   const std::string& folder) {
  std::vector<NpyOutput> files;
  json names = json::array();
  for (const ArrayType& type : engine.outputs()) {
    names.push_back("out" + std::to_string(files.size()) + ".npy");
    ArrayType whole = type;
    if (whole.shape.empty()) whole.shape.push_back(1);
    whole.shape[0] *= slices;
    files.emplace_back(folder + "/" + names.back().get<std::string>(), whole);
  }
  for (size_t number = 0; number < slices; ++number) {
    set_slice(engine, arrays, number);
    engine.invoke();
    for (size_t i = 0; i < files.size(); ++i) {
      const std::vector<uint8_t> bytes = engine.output(i);
      files[i].append(bytes.data(), bytes.size());
    }
  }
  for (NpyOutput& file : files) file.close();
  return names;
}

// The inputs are set again before every invocation, as an application does: a runtime may use their
// memory for other tensors. Setting them is not timed.
void measure(Engine& engine, const Job& job, const std::vector<NpyInput>& arrays, json& result) {
  std::vector<int64_t> warmup, samples;
  const auto timed = [&] {
    set_slice(engine, arrays, 0);
    const int64_t start = now_ns();
    engine.invoke();
    return now_ns() - start;
  };
  result["before"] = machine_state();
  for (size_t run = 0; run < job.warmup_runs; ++run) warmup.push_back(timed());
  double spent_s = 0;
  while (samples.size() < job.timed_runs ||
         (spent_s < job.min_time_s && samples.size() < kMaxTimedRuns)) {
    samples.push_back(timed());
    spent_s += double(samples.back()) * 1e-9;
  }
  result["after"] = machine_state();
  result["warmup_ns"] = warmup;
  result["latency_ns"] = samples;
}

// On a model of its own: profiling slows the timed runs down even while it is stopped.
void add_profile(const litert::Api& api, const std::string& artifact, const Job& job,
                 const std::vector<NpyInput>& arrays, json& result) {
  Engine engine(api, artifact, job.kernels, job.threads, true);
  const Profile profile =
      engine.profile(job.profiled_runs, [&] { set_slice(engine, arrays, 0); });
  result["delegated"] = profile.delegated;
  result["op_times"] = json::array();
  for (const OpTime& op : profile.ops) {
    result["op_times"].push_back({{"node", op.node ? json(*op.node) : json()},
                                  {"op", op.op},
                                  {"total_ns", op.total_ns},
                                  {"runs", op.runs}});
  }
}

void do_job(const std::string& library, const std::string& folder, json& result) {
  const Job job = read_job(folder + "/job.json");
  if (job.runtime != "litert" || job.kernels == "reference") {
    throw JobError("runtime_missing", "the native runner has LiteRT's xnnpack and builtin kernels");
  }
  result["kernels"] = job.kernels;
  const bool absolute = job.artifact.rfind('/', 0) == 0;
  const std::string artifact = absolute ? job.artifact : folder + "/" + job.artifact;
  const std::string digest = sha256_file(artifact);
  if (digest != job.sha256) {
    throw JobError("artifact", artifact + ": sha256 is " + digest + ", the job says " + job.sha256);
  }
  const litert::Api api = litert::open_api(library);
  std::vector<NpyInput> arrays;
  for (const std::string& name : job.inputs) arrays.emplace_back(folder + "/" + name);
  const int64_t start = now_ns();
  Engine engine(api, artifact, job.kernels, job.threads, false);
  result["load_ns"] = now_ns() - start;
  const size_t slices = count_slices(arrays, engine.inputs());
  if (job.outputs) result["outputs"] = write_outputs(engine, arrays, slices, folder + "/out");
  measure(engine, job, arrays, result);
  result["peak_rss_bytes"] = peak_rss_bytes();
  if (job.profiled_runs > 0) add_profile(api, artifact, job, arrays, result);
}

void remove_outputs(const std::string& folder) {
  for (int i = 0; std::remove((folder + "/out" + std::to_string(i) + ".npy").c_str()) == 0; ++i) {
  }
}

int run(const std::string& library, const std::string& version, const std::string& folder) {
  json result = describe_cpu();
  result.update({{"schema", kSchema},
                 {"runner", "native 1"},
                 {"runtime", "libLiteRt"},
                 {"runtime_version", version}});
  try {
    do_job(library, folder, result);
  } catch (const JobError& error) {
    remove_outputs(folder + "/out");  // room for result.json on a full disk
    result["outputs"] = json::array();
    result["failure"] = {{"kind", error.kind}, {"message", error.what()}};
  } catch (const std::exception& error) {
    remove_outputs(folder + "/out");
    result["outputs"] = json::array();
    result["failure"] = {{"kind", "internal"}, {"message", error.what()}};
  }
  try {
    write_atomically(folder + "/out/result.json",
                     result.dump(-1, ' ', false, json::error_handler_t::replace));
  } catch (const JobError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace edgefarm

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s LIBRARY VERSION JOBDIR\n", argv[0]);
    return 2;
  }
  return edgefarm::run(argv[1], argv[2], argv[3]);
}
