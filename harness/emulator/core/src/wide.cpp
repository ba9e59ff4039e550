#include "wide.h"

#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "slices.h"

namespace edgefarm {
namespace {

constexpr int64_t kMaxDepth = 1 << 16;     // of a window: sums of a half stay within 32 bits
constexpr int kMaxTaps = 256;              // of a depthwise window: sums do
constexpr double kMaxReach = 1LL << 46;    // of an accumulator, as S8 is defined for

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// The halves of a batch, in memory of the calling thread that is kept between calls.
Halves split(const int16_t* in, int64_t count, int threads) {
  thread_local std::vector<uint8_t> bytes;
  if ((int64_t)bytes.size() < 2 * count) bytes.resize((size_t)(2 * count));
  uint8_t* high = bytes.data();
  uint8_t* low = high + count;
  for_slices(count, slice_of(count, threads), threads,
             [&](int64_t first, int64_t last, Scratch&) {
               for (int64_t i = first; i < last; ++i) {
                 high[i] = (uint8_t)((uint16_t)in[i] >> 8);
                 low[i] = (uint8_t)((uint8_t)in[i] ^ 0x80);
               }
             });
  return {high, low};
}

Parameters no_requantization(int channels) {
  return {5, {}, {}, std::vector<double>((size_t)channels, 0.0), 0, -128, 127};
}

WideRequantization start_wide(const Parameters& p, int channels, size_t lanes) {
  require(p.number == 4 || p.number == 8, "int16 activations are rounded with S4 or S8");
  const auto count = (size_t)channels;
  const bool real = p.number == 4;
  require(real ? p.scale.size() == count : p.multiplier.size() == count && p.shift.size() == count,
          "requantization needs one value for each output channel");
  require(p.low >= -32768 && p.low <= p.high && p.high <= 32767 && p.zero_point >= -32768 &&
              p.zero_point <= 32767,
          "the output's range is outside its type");
  WideRequantization q;
  q.real = real;
  q.zero_point = p.zero_point;
  q.low = p.low;
  q.high = p.high;
  q.start.assign(lanes, 0);
  q.multiplier.assign(real ? 0 : lanes, 0);
  q.right.assign(real ? 0 : lanes, 1);
  q.half.assign(real ? 0 : lanes, 0);
  q.base.assign(real ? 0 : lanes, 0);
  q.scale.assign(real ? lanes : 0, 0.0);
  return q;
}

// `start`: what is added to the sums of products. `magnitude`: sum of the weights' magnitudes.
void set_lane(WideRequantization& q, const Parameters& p, int channel, size_t lane, int64_t bias,
              int64_t start, int64_t magnitude) {
  const auto c = (size_t)channel;
  const double reach = std::fabs((double)bias) + 32768.0 * (double)magnitude;
  require(reach < kMaxReach, "an accumulator may leave 47 bits");
  q.start[lane] = start;
  if (q.real) {
    require(std::isfinite(p.scale[c]) && p.scale[c] >= 0 && reach * p.scale[c] < 1e18,
            "a result may leave 64 bits");
    q.scale[lane] = p.scale[c];
    return;
  }
  const int64_t reduced = std::min<int64_t>((p.multiplier[c] + (1 << 15)) >> 16, 0x7FFF);
  require(p.multiplier[c] >= 0 && p.shift[c] >= -31 && p.shift[c] <= 7,
          "a multiplier is negative or a shift outside -31 to 7");
  q.multiplier[lane] = reduced;
  q.right[lane] = 15 - p.shift[c];
  q.half[lane] = (int64_t{1} << 62) + (int64_t{1} << (q.right[lane] - 1));
  q.base[lane] = (int64_t{1} << 62) >> q.right[lane];
}

}  // namespace

WideConvolution pack_wide_convolution(const Level& level, const Window& window, int groups,
                                      const Weights& weights, const int64_t* bias,
                                      const Parameters& parameters) {
  WideConvolution layer{pack_convolution(level, window, groups, weights, nullptr,
                                         {false, 0, false}, no_requantization(window.out_c)),
                        {}};
  const Convolution& c = layer.product;
  require(c.depth <= kMaxDepth, "the window is too large");
  layer.wide = start_wide(parameters, window.out_c, c.start.size());
  for (int channel = 0; channel < window.out_c; ++channel) {
    const int in_group = channel % c.group_out;
    const auto lane = (size_t)(channel / c.group_out * c.panels * level.lanes + in_group);
    int64_t sum = 0, magnitude = 0;
    for (int k = 0; k < c.depth; ++k) {
      const int w = (int8_t)weights.data[(int64_t)channel * c.depth + k];
      sum += w, magnitude += std::abs(w);
    }
    const int64_t first = bias ? bias[channel] : 0;
    set_lane(layer.wide, parameters, channel, lane, first, first - kLowOfZero * sum, magnitude);
  }
  return layer;
}

WideDepthwise pack_wide_depthwise(const Level& level, const Window& window, const Weights& weights,
                                  const int64_t* bias, const Parameters& parameters) {
  WideDepthwise layer{pack_depthwise(level, window, 0, window.in_c, weights, nullptr,
                                     {false, 0, false}, no_requantization(window.out_c)),
                      {}};
  const int taps = window.kernel_h * window.kernel_w;
  require(taps <= kMaxTaps, "the window is too large");
  layer.wide = start_wide(parameters, window.out_c, layer.product.start.size());
  for (int channel = 0; channel < window.out_c; ++channel) {
    int64_t magnitude = 0;
    for (int t = 0; t < taps; ++t) {
      magnitude += std::abs((int8_t)weights.data[(int64_t)t * window.in_c + channel]);
    }
    const int64_t first = bias ? bias[channel] : 0;
    set_lane(layer.wide, parameters, channel, (size_t)channel, first, first, magnitude);
  }
  return layer;
}

void run(const Level& level, const WideConvolution& layer, const int16_t* in, int16_t* out,
         int64_t batch, int threads) {
  const Halves halves = split(in, batch * layer.product.window.in_size(), threads);
  for_blocks(level, layer.product, batch, threads,
             [&](int64_t first, int64_t last, int first_panel, int last_panel, Scratch& scratch) {
               level.wide_convolve(layer, halves, out, first, last, first_panel, last_panel,
                                   scratch);
             });
}

void run(const Level& level, const WideDepthwise& layer, const int16_t* in, int16_t* out,
         int64_t batch, int threads) {
  const Window& w = layer.product.window;
  for_lines(layer.product, batch, threads, [&](int64_t first, int64_t last, Scratch& scratch) {
    level.wide_depthwise(layer, in, out + first * w.out_w * w.out_c, first, last, scratch);
  });
}

}  // namespace edgefarm
