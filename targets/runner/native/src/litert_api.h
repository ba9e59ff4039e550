// The part of LiteRT's C API that a runner needs, opened at run time from libLiteRt.so.
//
// The declarations state the binary interface of ai-edge-litert 2.3; the sizes are asserted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace edgefarm::litert {

using Status = int;
constexpr Status kOk = 0;

// Opaque handles.
struct EnvironmentT;
struct ModelT;
struct OptionsT;
struct OpaqueOptionsT;
struct CompiledModelT;
struct SignatureT;
struct SubgraphT;
struct TensorT;
struct RequirementsT;
struct BufferT;
struct ProfilerT;

// One option of the environment: a tag and a tagged value.
struct EnvironmentOption {
  int32_t tag;
  alignas(8) int32_t value_type;
  alignas(8) int64_t int_value;
};
static_assert(sizeof(EnvironmentOption) == 24);
constexpr int32_t kAutoRegisterAccelerators = 24;
constexpr int32_t kMinLoggerSeverity = 25;
constexpr int32_t kIntValue = 2;
constexpr int kCpu = 1;
constexpr int kSeverityError = 3;

constexpr size_t kMaxRank = 8;
struct TensorType {
  int32_t element;
  uint32_t rank_and_strides;  // rank in the low 7 bits
  int32_t dimensions[kMaxRank];
  uint32_t strides[kMaxRank];
  size_t rank() const { return rank_and_strides & 0x7f; }
};
static_assert(sizeof(TensorType) == 72);

enum LockMode : int { kRead = 0, kWrite = 1 };

struct MemoryUsage {
  size_t total_allocated_bytes, in_use_allocated_bytes, private_footprint_bytes;
};
struct ProfilerEvent {
  const char* tag;
  int32_t type;
  uint64_t start_us;
  uint64_t elapsed_us;
  MemoryUsage begin, end;
  uint64_t metadata1, metadata2;
  int32_t source;
};
constexpr int32_t kOperatorEvent = 2;
constexpr int32_t kDelegateOperatorEvent = 8;

// name, parameters; every function returns a Status
#define EDGEFARM_LITERT_STATUS_FUNCTIONS(X)                                                       \
  X(CreateEnvironment, (int, const EnvironmentOption*, EnvironmentT**))                           \
  X(CreateModelFromFile, (EnvironmentT*, const char*, ModelT**))                                  \
  X(CreateOptions, (OptionsT**))                                                                  \
  X(SetOptionsHardwareAccelerators, (OptionsT*, int))                                             \
  X(CreateOpaqueOptions, (const char*, void*, void (*)(void*), OpaqueOptionsT**))                 \
  X(AddOpaqueOptions, (OptionsT*, OpaqueOptionsT*))                                               \
  X(CreateCompiledModel, (EnvironmentT*, ModelT*, OptionsT*, CompiledModelT**))                   \
  X(GetModelSubgraph, (ModelT*, size_t, SubgraphT**))                                             \
  X(GetNumSubgraphOps, (SubgraphT*, size_t*))                                                     \
  X(GetNumModelSignatures, (ModelT*, size_t*))                                                    \
  X(GetModelSignature, (ModelT*, size_t, SignatureT**))                                           \
  X(GetSignatureSubgraph, (SignatureT*, SubgraphT**))                                             \
  X(GetNumSignatureInputs, (SignatureT*, size_t*))                                                \
  X(GetNumSignatureOutputs, (SignatureT*, size_t*))                                               \
  X(GetSignatureInputTensorByIndex, (SignatureT*, size_t, TensorT**))                             \
  X(GetSignatureOutputTensorByIndex, (SignatureT*, size_t, TensorT**))                            \
  X(GetRankedTensorType, (TensorT*, TensorType*))                                                 \
  X(GetCompiledModelInputBufferRequirements, (CompiledModelT*, size_t, size_t, RequirementsT**))  \
  X(GetCompiledModelOutputBufferRequirements, (CompiledModelT*, size_t, size_t, RequirementsT**)) \
  X(CreateManagedTensorBufferFromRequirements,                                                    \
    (EnvironmentT*, const TensorType*, RequirementsT*, BufferT**))                                \
  X(GetTensorBufferPackedSize, (BufferT*, size_t*))                                               \
  X(LockTensorBuffer, (BufferT*, void**, LockMode))                                               \
  X(UnlockTensorBuffer, (BufferT*))                                                               \
  X(RunCompiledModel, (CompiledModelT*, size_t, size_t, BufferT**, size_t, BufferT**))            \
  X(CompiledModelGetProfiler, (CompiledModelT*, ProfilerT**))                                     \
  X(StartProfiler, (ProfilerT*))                                                                  \
  X(StopProfiler, (ProfilerT*))                                                                   \
  X(GetNumProfilerEvents, (ProfilerT*, int*))                                                     \
  X(GetProfilerEvents, (ProfilerT*, int, ProfilerEvent*))

// name, parameters; these return nothing
#define EDGEFARM_LITERT_VOID_FUNCTIONS(X)    \
  X(DestroyEnvironment, (EnvironmentT*))     \
  X(DestroyModel, (ModelT*))                 \
  X(DestroyOptions, (OptionsT*))             \
  X(DestroyCompiledModel, (CompiledModelT*)) \
  X(DestroyTensorBuffer, (BufferT*))

struct Api {
#define EDGEFARM_DECLARE(name, parameters) Status(*name) parameters;
  EDGEFARM_LITERT_STATUS_FUNCTIONS(EDGEFARM_DECLARE)
#undef EDGEFARM_DECLARE
#define EDGEFARM_DECLARE(name, parameters) void(*name) parameters;
  EDGEFARM_LITERT_VOID_FUNCTIONS(EDGEFARM_DECLARE)
#undef EDGEFARM_DECLARE
};

// Opens the library; throws JobError("runtime_missing", …) when it or one of its functions is not
// there, e.g. because the device's C library is older than the one it needs.
Api open_api(const std::string& library);

}  // namespace edgefarm::litert
