// The native runner: `edgefarm-runner RUNTIME VERSION LIBRARY… JOBDIR` obeys harness/protocol.py.
//
// RUNTIME is `litert` or `executorch`, the libraries are what it consists of, in the order of
// loading, VERSION is what the host knows it to be (the libraries do not tell). Whatever the runner can name becomes `failure` in out/result.json, with exit status 0;
// only a crash or a kill leaves no result.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine.h"
#include "executorch_engine.h"
#include "files.h"
#include "job.h"
#include "litert_api.h"
#include "litert_engine.h"
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

// An output of all slices in one file.
class OutputFile {
 public:
  OutputFile(const std::string& path, const ArrayType& type, size_t slices)
      : type_(type), file_(path, whole(type, slices)) {}

  void append(const Array& array) {
    if (array.type.descr != type_.descr || array.type.shape != type_.shape) {
      throw JobError("model", "an output changed its shape: " + describe(type_) + ", then " +
                                  describe(array.type) +
                                  ": sizes that depend on the data cannot be joined over "
                                  "invocations");
    }
    file_.append(array.bytes.data(), array.bytes.size());
  }

  void close() { file_.close(); }

 private:
  static ArrayType whole(ArrayType type, size_t slices) {
    if (type.shape.empty()) type.shape.push_back(1);
    type.shape[0] *= slices;
    return type;
  }

  const ArrayType type_;
  NpyOutput file_;
};

json write_outputs(Engine& engine, const std::vector<NpyInput>& arrays, size_t slices,
                   const std::string& folder) {
  std::vector<OutputFile> files;
  json names = json::array();
  for (size_t number = 0; number < slices; ++number) {
    set_slice(engine, arrays, number);
    engine.invoke();
    for (size_t i = 0; i < engine.output_count(); ++i) {
      const Array array = engine.output(i);
      if (files.size() == i) {
        names.push_back("out" + std::to_string(i) + ".npy");
        files.emplace_back(folder + "/" + names.back().get<std::string>(), array.type, slices);
      }
      files[i].append(array);
    }
  }
  for (OutputFile& file : files) file.close();
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

// The runtime that this process serves, its libraries loaded.
struct Runtime {
  std::string name;
  std::vector<std::string> libraries;
};

// What ends a job early; see `end_early`.
struct Ending {
  std::string folder;
  json result;
};
Ending ending;

void remove_outputs(const std::string& folder) {
  for (int i = 0; std::remove((folder + "/out" + std::to_string(i) + ".npy").c_str()) == 0; ++i) {
  }
}

// Writes the result; the exit status.
int finish(const std::string& folder, const json& result) {
  try {
    write_atomically(folder + "/out/result.json",
                     result.dump(-1, ' ', false, json::error_handler_t::replace));
  } catch (const JobError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

void add_failure(const std::string& folder, json& result, const std::string& kind,
                 const std::string& message) {
  remove_outputs(folder + "/out");  // room for result.json on a full disk
  result["outputs"] = json::array();
  result["failure"] = {{"kind", kind}, {"message", message}};
}

// Where the runtime would abort, because a check of its own failed: a result, and no more.
void end_early(const char* message) {
  add_failure(ending.folder, ending.result, "model",
              std::string("the runtime gave up: ") + message);
  _exit(finish(ending.folder, ending.result));
}

// Makes engines of one artifact. The libraries are opened once, before the clock starts.
std::function<std::unique_ptr<Engine>(bool profiling)> engines(const Runtime& runtime,
                                                               const std::string& artifact,
                                                               const Job& job) {
  if (runtime.name == "executorch") {
    const EdgefarmExecuTorch& api = open_executorch(runtime.libraries);
    return [&api, artifact, job](bool profiling) {
      return std::make_unique<ExecuTorchEngine>(api, artifact, job.threads, profiling, end_early);
    };
  }
  const litert::Api api = litert::open_api(runtime.libraries.at(0));
  return [api, artifact, job](bool profiling) {
    return std::make_unique<LiteRtEngine>(api, artifact, job.kernels, job.threads, profiling);
  };
}

// On a model of its own: profiling slows the timed runs down even while it is stopped.
void add_profile(Engine& engine, const Job& job, const std::vector<NpyInput>& arrays,
                 json& result) {
  const Profile profile =
      engine.profile(job.profiled_runs, [&] { set_slice(engine, arrays, 0); });
  if (profile.delegated) result["delegated"] = *profile.delegated;
  result["op_times"] = json::array();
  for (const OpTime& op : profile.ops) {
    result["op_times"].push_back({{"node", op.node ? json(*op.node) : json()},
                                  {"op", op.op},
                                  {"total_ns", op.total_ns},
                                  {"runs", op.runs}});
  }
}

void check_runtime(const Runtime& runtime, const Job& job) {
  if (job.runtime != runtime.name) {
    throw JobError("runtime_missing",
                   "this runner was started for " + runtime.name + ", the job is for " +
                       job.runtime);
  }
  if (job.runtime == "litert" && job.kernels == "reference") {
    throw JobError("runtime_missing", "the native runner has LiteRT's xnnpack and builtin kernels");
  }
}

void do_job(const Runtime& runtime, const std::string& folder, json& result) {
  const Job job = read_job(folder + "/job.json");
  check_runtime(runtime, job);
  if (job.runtime == "litert") result["kernels"] = job.kernels;
  const bool absolute = job.artifact.rfind('/', 0) == 0;
  const std::string artifact = absolute ? job.artifact : folder + "/" + job.artifact;
  const std::string digest = sha256_file(artifact);
  if (digest != job.sha256) {
    throw JobError("artifact", artifact + ": sha256 is " + digest + ", the job says " + job.sha256);
  }
  ending = {folder, result};
  const auto open_engine = engines(runtime, artifact, job);
  std::vector<NpyInput> arrays;
  for (const std::string& name : job.inputs) arrays.emplace_back(folder + "/" + name);
  const int64_t start = now_ns();
  const std::unique_ptr<Engine> engine = open_engine(false);
  result["load_ns"] = now_ns() - start;
  const size_t slices = count_slices(arrays, engine->inputs());
  if (job.outputs) result["outputs"] = write_outputs(*engine, arrays, slices, folder + "/out");
  measure(*engine, job, arrays, result);
  result["peak_rss_bytes"] = peak_rss_bytes();
  if (job.profiled_runs > 0) add_profile(*open_engine(true), job, arrays, result);
}

int run(const Runtime& runtime, const std::string& version, const std::string& folder) {
  json result = describe_cpu();
  result.update({{"schema", kSchema},
                 {"runner", "native 1"},
                 {"runtime", runtime.name == "litert" ? "libLiteRt" : runtime.name},
                 {"runtime_version", version}});
  try {
    do_job(runtime, folder, result);
  } catch (const JobError& error) {
    add_failure(folder, result, error.kind, error.what());
  } catch (const std::exception& error) {
    add_failure(folder, result, "internal", error.what());
  }
  return finish(folder, result);
}

}  // namespace
}  // namespace edgefarm

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (argc < 5 || (name != "litert" && name != "executorch")) {
    std::fprintf(stderr, "usage: %s litert|executorch VERSION LIBRARY... JOBDIR\n", argv[0]);
    return 2;
  }
  return edgefarm::run({name, {argv + 3, argv + argc - 1}}, argv[2], argv[argc - 1]);
}
