// Running packed layers on whole batches, on several threads.
#pragma once

#include <cstdint>

#include "layer.h"

namespace edgefarm {

void run(const Level& level, const Convolution& layer, const uint8_t* in, uint8_t* out,
         int64_t batch, int threads);
void run(const Level& level, const Depthwise& layer, const uint8_t* in, uint8_t* out, int64_t batch,
         int threads);

void run(const Level& level, const Addition& layer, const uint8_t* x1, const uint8_t* x2,
         uint8_t* out, int64_t size, int threads);

// out[i] = table[x[i]]; the table has 256 entries. The first on this thread alone.
void look_up_here(const uint8_t* table, const uint8_t* x, uint8_t* out, int64_t size);
void look_up(const uint8_t* table, const uint8_t* x, uint8_t* out, int64_t size, int threads);
// out[i] = table[256 * a[i] + b[i]]; the table has 65,536 entries.
void look_up_pair(const uint8_t* table, const uint8_t* a, const uint8_t* b, uint8_t* out,
                  int64_t size, int threads);

// The largest byte of each window, padding left out; in_c == out_c.
void max_pool(const Window& window, bool is_signed, const uint8_t* in, uint8_t* out, int64_t batch,
              int threads);
// The int32 sum of each window, padding left out; in_c == out_c.
void sum_pool(const Window& window, bool is_signed, const uint8_t* in, int32_t* out, int64_t batch,
              int threads);

}  // namespace edgefarm
