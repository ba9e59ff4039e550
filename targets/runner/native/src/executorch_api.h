// The border between the runner and its part that ExecuTorch's C++ headers need: C types only.
//
// That part, libedgefarm-executorch.so, is a library of its own and opened after ExecuTorch's, so
// that the program starts, and can say what is missing, where those cannot be loaded.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

constexpr size_t kEdgefarmMaxRank = 16;
constexpr size_t kEdgefarmMessage = 512;

enum EdgefarmStatus : int { kEdgefarmOk = 0, kEdgefarmModel = 1, kEdgefarmMachine = 2 };

struct EdgefarmProgram;

struct EdgefarmArray {
  char descr[4];  // NumPy's
  size_t rank;
  size_t shape[kEdgefarmMaxRank];
  const void* data;  // C-ordered, valid until the next run; null for an input
  size_t bytes;
};

struct EdgefarmStep {
  int64_t node;  // index of the instruction; -1 inside a delegate
  const char* op;
  uint64_t total_ns;
};

struct EdgefarmExecuTorch {
  // Opens the program's `forward`. `on_abort` is called with the last words of the runtime where
  // it would end the process; it must not return.
  EdgefarmStatus (*open)(const char* path, uint32_t threads, bool profiling,
                         void (*on_abort)(const char*), EdgefarmProgram** program);
  void (*close)(EdgefarmProgram*);
  size_t (*inputs)(const EdgefarmProgram*);
  size_t (*outputs)(const EdgefarmProgram*);
  EdgefarmStatus (*input)(EdgefarmProgram*, size_t index, EdgefarmArray*);
  EdgefarmStatus (*set_input)(EdgefarmProgram*, size_t index, const void* data);
  EdgefarmStatus (*invoke)(EdgefarmProgram*);
  EdgefarmStatus (*output)(EdgefarmProgram*, size_t index, EdgefarmArray*);
  // Steps of all runs so far; a program that was opened with `profiling`.
  size_t (*steps)(const EdgefarmProgram*);
  void (*step)(const EdgefarmProgram*, size_t index, EdgefarmStep*);
  // What the last status that is not ok means.
  const char* (*message)();
};

// The one function that the library exports.
const EdgefarmExecuTorch* edgefarm_executorch();

}  // extern "C"
