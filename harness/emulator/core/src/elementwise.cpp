#include "elementwise.h"

#include <cmath>
#include <stdexcept>

#include "slices.h"

namespace edgefarm {
namespace {

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// floor(x * m / 2^31 + 1/2): saturates nowhere, for m is below 2^31.
int64_t doubling_high(int64_t x, int64_t m) {
  return (x * m + (int64_t{1} << 30)) >> 31;
}

int64_t shift_ties_away(int64_t x, int shift) {
  const int64_t mask = (int64_t{1} << shift) - 1;
  return (x >> shift) + ((x & mask) > (mask >> 1) + (x < 0));
}

int64_t raised(const RaisedInput& input, int raise, bool once, int64_t x) {
  const int64_t centred = x - input.zero;
  if (once) {
    const int total = raise + input.shift;
    const int64_t moved = total >= 0 ? centred * (int64_t{1} << total) : centred >> -total;
    return doubling_high(moved, input.multiplier);
  }
  const int64_t high = doubling_high(centred * (int64_t{1} << raise), input.multiplier);
  return shift_ties_away(high, -input.shift);
}

}  // namespace

void check(const WideAddition& layer) {
  for (const RaisedInput* input : {&layer.first, &layer.second}) {
    require(input->zero == 0, "int16 has no zero points");
    require(input->multiplier > -INT32_MAX, "a multiplier is outside 32 bits");
    require(input->shift <= 0 && input->shift >= -31, "a shift is outside -31 to 0");
  }
  require(layer.raise >= 0 && layer.raise <= 15, "the raise is outside 0 to 15");
  require(layer.multiplier >= 0 && layer.shift <= 0 && layer.shift >= -31,
          "the output's multiplier is 1 or more");
  require(layer.zero == 0 && layer.low >= -32768 && layer.low <= layer.high &&
              layer.high <= 32767,
          "the output's range is outside its type");
}

void run(const WideAddition& layer, const int16_t* a, const int16_t* b, int16_t* out, int64_t size,
         int threads) {
  for_slices(size, slice_of(size, threads), threads, [&](int64_t first, int64_t last, Scratch&) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t sum = raised(layer.first, layer.raise, layer.once, a[i]) +
                          raised(layer.second, layer.raise, layer.once, b[i]);
      const int64_t y = shift_ties_away(doubling_high(sum, layer.multiplier), -layer.shift);
      out[i] = (int16_t)(y < layer.low ? layer.low : y > layer.high ? layer.high : y);
    }
  });
}

void gelu(const float* x, float* out, int64_t size, int threads) {
  const auto half = (float)std::sqrt(0.5);
  for_slices(size, slice_of(4 * size, threads) / 4, threads,
             [&](int64_t first, int64_t last, Scratch&) {
               for (int64_t i = first; i < last; ++i) {
                 const auto phi = (float)std::erf((double)(x[i] * half));
                 out[i] = 0.5f * x[i] * (1.0f + phi);
               }
             });
}

}  // namespace edgefarm
