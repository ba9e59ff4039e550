#include "threads.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace edgefarm {
namespace {

// How often an idle worker looks again before it sleeps: layers follow each other within
// microseconds, waking a sleeper costs more than that.
constexpr int kSpins = 2000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

Scratch& own_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

class Pool {
 public:
  void run(int threads, int64_t tasks, Task task, void* context) {
    while ((int)workers_.size() < threads - 1) {
      workers_.emplace_back(&Pool::serve, this, (int)workers_.size(), round_.load());
    }
    {
      std::lock_guard<std::mutex> hold(mutex_);
      task_ = task;
      context_ = context;
      tasks_ = tasks;
      helpers_ = threads - 1;
      next_.store(0, std::memory_order_relaxed);
      open_ = true;
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    drain();
    // Whoever has not come yet need not come: waiting for a sleeper would cost more than its help.
    std::unique_lock<std::mutex> hold(mutex_);
    open_ = false;
    left_.wait(hold, [this] { return active_ == 0; });
  }

 private:
  void drain() {
    Scratch& scratch = own_scratch();
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) {
      task_(context_, i, scratch);
    }
  }

  void serve(int id, uint64_t seen) {
    for (;;) {
      for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; ++spin) {
        relax();
      }
      std::unique_lock<std::mutex> hold(mutex_);
      wake_.wait(hold, [&] { return round_.load(std::memory_order_relaxed) != seen; });
      seen = round_.load(std::memory_order_relaxed);
      if (!open_ || id >= helpers_) continue;
      ++active_;
      hold.unlock();
      drain();
      hold.lock();
      if (--active_ == 0) left_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, left_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int64_t> next_{0};
  // All below is written under the mutex, and read under it or by those it let in.
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  int helpers_ = 0;
  int active_ = 0;
  bool open_ = false;
};

std::mutex busy;

}  // namespace

void run_tasks(int threads, int64_t tasks, Task task, void* context) {
  // Never destroyed: its threads sleep until the process ends.
  static Pool* const pool = new Pool;
  static const pid_t owner = getpid();
  std::unique_lock<std::mutex> turn(busy, std::defer_lock);
  if (threads > 1 && tasks > 1 && getpid() == owner && turn.try_lock()) {
    pool->run(threads, tasks, task, context);
    return;
  }
  Scratch& scratch = own_scratch();
  for (int64_t i = 0; i < tasks; ++i) task(context, i, scratch);
}

}  // namespace edgefarm
