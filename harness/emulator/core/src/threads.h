// A pool of threads that share the tasks of one call at a time.
#pragma once

#include <cstdint>

#include "layer.h"

namespace edgefarm {

using Task = void (*)(void* context, int64_t task, Scratch& scratch);

// Runs task 0 .. tasks - 1, each once, on up to `threads` threads, the caller's among them. The
// tasks must write to different places; then the result does not depend on who runs which.
// Concurrent callers and callers after a fork are served by their own thread alone.
void run_tasks(int threads, int64_t tasks, Task task, void* context);

template <class F>
void parallel_for(int threads, int64_t tasks, F& f) {
  run_tasks(
      threads, tasks,
      [](void* context, int64_t task, Scratch& scratch) { (*(F*)context)(task, scratch); }, &f);
}

}  // namespace edgefarm
