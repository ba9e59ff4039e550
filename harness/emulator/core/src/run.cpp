#include "run.h"

#include <algorithm>
#include <cstring>

#include "slices.h"

namespace edgefarm {
namespace {

// The part of a window that lies on the image, along one dimension.
struct Part {
  int first, last, step;
};

Part inside(int position, int stride, int pad, int kernel, int dilation, int size) {
  const int start = position * stride - pad;
  int first = start, last = start + kernel * dilation;
  while (first < 0) first += dilation;
  return {first, std::min(last, size), dilation};
}

template <class Byte, class Out, class F>
void pool_line(const Window& w, const Byte* image, int y, Out* out, Out start, F join) {
  const Part rows = inside(y, w.stride_h, w.pad_top, w.kernel_h, w.dilation_h, w.in_h);
  for (int x = 0; x < w.out_w; ++x, out += w.out_c) {
    const Part columns = inside(x, w.stride_w, w.pad_left, w.kernel_w, w.dilation_w, w.in_w);
    std::fill_n(out, w.out_c, start);
    for (int iy = rows.first; iy < rows.last; iy += rows.step) {
      for (int ix = columns.first; ix < columns.last; ix += columns.step) {
        const Byte* pixel = image + ((int64_t)iy * w.in_w + ix) * w.in_c;
        for (int c = 0; c < w.out_c; ++c) out[c] = join(out[c], pixel[c]);
      }
    }
  }
}

template <class Byte, class Out, class F>
void pool(const Window& w, const Byte* in, Out* out, int64_t batch, int threads, Out start,
          F join) {
  const int64_t lines = batch * w.out_h;
  for_slices(lines, std::max<int64_t>(1, divide_up(lines, threads * kTasksPerThread)), threads,
             [&](int64_t first, int64_t last, Scratch&) {
               for (int64_t line = first; line < last; ++line) {
                 pool_line(w, in + line / w.out_h * w.in_size(), (int)(line % w.out_h),
                           out + line * w.out_w * w.out_c, start, join);
               }
             });
}

}  // namespace

void run(const Level& level, const Convolution& layer, const uint8_t* in, uint8_t* out,
         int64_t batch, int threads) {
  for_blocks(level, layer, batch, threads, [&](int64_t first, int64_t last, int first_panel,
                                               int last_panel, Scratch& scratch) {
    level.convolve(layer, in, out, first, last, first_panel, last_panel, scratch);
  });
}

void run(const Level& level, const Depthwise& layer, const uint8_t* in, uint8_t* out, int64_t batch,
         int threads) {
  for_lines(layer, batch, threads, [&](int64_t first, int64_t last, Scratch& scratch) {
    level.depthwise(layer, in, out, first, last, scratch);
  });
}

void run(const Level& level, const Addition& layer, const uint8_t* x1, const uint8_t* x2,
         uint8_t* out, int64_t size, int threads) {
  for_slices(size, slice_of(size, threads), threads, [&](int64_t first, int64_t last, Scratch&) {
    level.add(layer, x1 + first, x2 + first, out + first, last - first);
  });
}

void look_up(const uint8_t* table, const uint8_t* x, uint8_t* out, int64_t size, int threads) {
  for_slices(size, slice_of(size, threads), threads, [&](int64_t first, int64_t last, Scratch&) {
    look_up_here(table, x + first, out + first, last - first);
  });
}

void look_up_pair(const uint8_t* table, const uint8_t* a, const uint8_t* b, uint8_t* out,
                  int64_t size, int threads) {
  for_slices(size, slice_of(size, threads), threads, [&](int64_t first, int64_t last, Scratch&) {
    for (int64_t i = first; i < last; ++i) out[i] = table[256 * a[i] + b[i]];
  });
}

void max_pool(const Window& window, bool is_signed, const uint8_t* in, uint8_t* out, int64_t batch,
              int threads) {
  if (is_signed) {
    pool(window, (const int8_t*)in, (int8_t*)out, batch, threads, (int8_t)-128,
         [](int8_t a, int8_t b) { return std::max(a, b); });
  } else {
    pool(window, in, out, batch, threads, (uint8_t)0,
         [](uint8_t a, uint8_t b) { return std::max(a, b); });
  }
}

void sum_pool(const Window& window, bool is_signed, const uint8_t* in, int32_t* out, int64_t batch,
              int threads) {
  const auto add = [](int32_t sum, int32_t x) { return sum + x; };
  if (is_signed) {
    pool(window, (const int8_t*)in, out, batch, threads, 0, add);
  } else {
    pool(window, in, out, batch, threads, 0, add);
  }
}

}  // namespace edgefarm
