// How layers are cut into tasks for threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "layer.h"
#include "threads.h"

namespace edgefarm {

constexpr int64_t kTasksPerThread = 4;  // so that a thread held up elsewhere is made up for
// Work below which a second thread does not pay: in elements, and in the multiply-adds of the two
// kinds of convolution, of which a core does more in the same time.
constexpr int64_t kSmall = 1 << 14;
constexpr int64_t kSmallConvolution = 8 * kSmall;
constexpr int64_t kSmallDepthwise = 2 * kSmall;
constexpr int64_t kLeastRows = 48;  // of a task, for each task reads the weights anew

inline int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Calls work(first, last, scratch) for slices of `size`, in parallel when that pays.
template <class F>
void for_slices(int64_t size, int64_t slice, int threads, F work) {
  auto task = [&](int64_t i, Scratch& scratch) {
    work(i * slice, std::min(size, (i + 1) * slice), scratch);
  };
  parallel_for(threads, divide_up(size, slice), task);
}

inline int64_t slice_of(int64_t size, int threads) {
  return std::max(kSmall, divide_up(size, threads * kTasksPerThread));
}

// Calls work(first row, last, first panel, last, scratch) for the blocks of a convolution.
template <class F>
void for_blocks(const Level& level, const Convolution& layer, int64_t batch, int threads, F work) {
  const int64_t rows = batch * layer.window.out_h * layer.window.out_w;
  if (rows == 0) return;
  const int panels = layer.groups * layer.panels;
  const int64_t products = rows * layer.padded_depth * layer.group_out * layer.groups;
  if (products < kSmallConvolution) threads = 1;
  const int64_t wanted = threads == 1 ? 1 : threads * kTasksPerThread;
  const int64_t most = level.row_block(layer);
  // Few rows: the threads share the panels instead, and each packs the rows for itself.
  const int64_t block = std::min(most, std::max(divide_up(rows, wanted), kLeastRows));
  const int64_t row_blocks = divide_up(rows, block);
  const int64_t panel_blocks =
      row_blocks >= wanted ? 1 : std::min<int64_t>(panels, divide_up(wanted, row_blocks));
  const int64_t panel_block = divide_up(panels, panel_blocks);
  auto task = [&](int64_t i, Scratch& scratch) {
    const int64_t row = i / panel_blocks * block, panel = i % panel_blocks * panel_block;
    if (panel >= panels) return;
    work(row, std::min(rows, row + block), (int)panel,
         (int)std::min<int64_t>(panels, panel + panel_block), scratch);
  };
  parallel_for(threads, row_blocks * panel_blocks, task);
}

// Calls work(first line, last, scratch) for the output lines of a depthwise convolution.
template <class F>
void for_lines(const Depthwise& layer, int64_t batch, int threads, F work) {
  const Window& w = layer.window;
  const int64_t lines = batch * w.out_h;
  if (lines * w.out_w * w.out_c * w.kernel_h * w.kernel_w < kSmallDepthwise) threads = 1;
  for_slices(lines, std::max<int64_t>(1, divide_up(lines, threads * kTasksPerThread)), threads,
             work);
}

}  // namespace edgefarm
