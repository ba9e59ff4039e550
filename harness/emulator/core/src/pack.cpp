#include "pack.h"

#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "products.h"

namespace edgefarm {
namespace {

constexpr int64_t kMaxDepth = int64_t{1} << 20;  // of a window: bounds the scratch memory
constexpr double kInt32 = 2147483648.0;

int round_up(int x, int to) {
  return (x + to - 1) / to * to;
}

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// Signed bytes of the weights and their zero point there.
int8_t signed_weight(const Weights& weights, int64_t i) {
  return (int8_t)(weights.data[i] ^ (weights.is_unsigned ? 0x80 : 0));
}
int32_t signed_zero(int32_t zero, bool is_unsigned) {
  const int32_t moved = zero - (is_unsigned ? 128 : 0);
  require(moved >= -128 && moved <= 127, "a zero point is outside its type");
  return moved;
}

Rounding rounding_of(int number) {
  switch (number) {
    case 1:
      return Rounding::kS1;
    case 2:
      return Rounding::kS2;
    case 3:
    case 6:
      return Rounding::kS3;
    case 4:
      return Rounding::kS4;
    case 5:
      return Rounding::kS5;
    case 7:
      return Rounding::kS7;
    default:
      throw std::invalid_argument("the rounding is not within 1 to 7");
  }
}

// The parameters of `channel` at `lane`. S3, S4 and S6 give a 32-bit result, so it must fit:
// `reach` bounds the accumulator's magnitude.
void set_lane(Requantization& q, const Parameters& p, int channel, size_t lane, double reach) {
  if (p.number == 4 || p.number == 5) {
    const double scale = p.scale[(size_t)channel];
    require(std::isfinite(scale) && scale >= 0, "a scale is negative or not finite");
    require(p.number == 5 || reach * scale < kInt32 - 1, "a result may leave 32 bits");
    if (p.number == 4) q.scale64[lane] = scale;
    if (p.number == 5) q.scale[lane] = (float)scale;
    return;
  }
  const int64_t multiplier = p.multiplier[(size_t)channel], shift = p.shift[(size_t)channel];
  require(multiplier >= 0 && multiplier < (int64_t)kInt32, "a multiplier is outside 0 to 2^31 - 1");
  require(shift >= -31 && shift <= 62, "a shift is outside -31 to 62");
  q.multiplier[lane] = (int32_t)multiplier;
  if (p.number == 3 || p.number == 6) {
    const int64_t right = p.number == 3 ? 31 - shift : shift;
    require(right >= 1 && right <= 62, "a shift is outside 1 to 62");
    require(reach * std::ldexp((double)multiplier, (int)-right) < kInt32 - 1,
            "a result may leave 32 bits");
    q.right[lane] = (int32_t)right;
    return;
  }
  require(shift <= 31, "a shift is outside -31 to 31");
  require(p.number != 7 || (shift <= 15 && multiplier < 32768), "S7 has 16-bit multipliers");
  q.left[lane] = (int32_t)(shift > 0 ? shift : 0);
  q.right[lane] = (int32_t)(shift < 0 ? -shift : 0);
}

void check_output(int32_t zero_point, int32_t low, int32_t high, bool is_unsigned) {
  const int32_t lowest = is_unsigned ? 0 : -128;
  require(low >= lowest && low <= high && high <= lowest + 255,
          "the output's range is outside its type");
  require(zero_point >= lowest && zero_point <= lowest + 255, "a zero point is outside its type");
}

Requantization start_requantization(const Parameters& p, int channels, size_t lanes,
                                    bool output_unsigned) {
  const size_t count = (size_t)channels;
  const bool real = p.number == 4 || p.number == 5;
  require(real ? p.scale.size() == count : p.multiplier.size() == count && p.shift.size() == count,
          "requantization needs one value for each output channel");
  check_output(p.zero_point, p.low, p.high, output_unsigned);
  Requantization q;
  q.rounding = rounding_of(p.number);
  q.zero_point = p.zero_point;
  q.low = p.low;
  q.high = p.high;
  q.multiplier.assign(real ? 0 : lanes, 0);
  q.left.assign(real ? 0 : lanes, 0);
  q.right.assign(real ? 0 : lanes, 1);
  q.scale.assign(p.number == 5 ? lanes : 0, 0.0f);
  q.scale64.assign(p.number == 4 ? lanes : 0, 0.0);
  return q;
}

// A channel's sums over its weights: of them and of their magnitudes, zero point taken off.
struct Sums {
  int64_t plain = 0, magnitude = 0;
  void add(int32_t w) {
    plain += w;
    magnitude += w < 0 ? -w : w;
  }
  // The accumulator's first value wraps as the machine's does.
  int32_t start(int32_t bias, int32_t input_zero) const {
    return (int32_t)(uint32_t)(uint64_t)(bias - input_zero * plain);
  }
  double reach(int32_t bias) const {
    return std::fmin(std::fabs((double)bias) + 255.0 * (double)magnitude, kInt32);
  }
};

}  // namespace

void check_window(const Window& w) {
  for (int size : {w.in_h, w.in_w, w.in_c, w.out_h, w.out_w, w.out_c, w.kernel_h, w.kernel_w,
                   w.stride_h, w.stride_w, w.dilation_h, w.dilation_w}) {
    require(size >= 1 && size <= (1 << 24), "a size of the window is not within 1 to 2^24");
  }
  require(w.pad_top >= 0 && w.pad_left >= 0 && w.pad_top <= (1 << 24) && w.pad_left <= (1 << 24),
          "padding is not within 0 to 2^24");
  const int64_t limit = int64_t{1} << 40;
  require(int64_t{1} * w.in_h * w.in_w < limit / w.in_c, "the image is too large");
  require(int64_t{1} * w.out_h * w.out_w < limit / w.out_c, "the image is too large");
  // Positions stay within int.
  for (int64_t reach : {int64_t{w.out_h} * w.stride_h + int64_t{w.kernel_h} * w.dilation_h,
                        int64_t{w.out_w} * w.stride_w + int64_t{w.kernel_w} * w.dilation_w}) {
    require(reach < (1 << 30), "the window reaches too far");
  }
  require(int64_t{1} * w.kernel_h * w.kernel_w * w.in_c <= kMaxDepth, "the window is too large");
}

Convolution pack_convolution(const Level& level, const Window& window, int groups,
                             const Weights& weights, const int32_t* bias, const Boundary& boundary,
                             const Parameters& parameters) {
  check_window(window);
  require(groups >= 1 && window.in_c % groups == 0 && window.out_c % groups == 0,
          "channels do not divide into the groups");
  Convolution c;
  c.window = window;
  c.groups = groups;
  c.group_in = window.in_c / groups;
  c.group_out = window.out_c / groups;
  c.depth = window.kernel_h * window.kernel_w * c.group_in;
  c.padded_depth = round_up(c.depth, level.group);
  c.panels = (c.group_out + level.lanes - 1) / level.lanes;
  c.input_flip = boundary.input_unsigned ? 0x80 : 0;
  c.input_zero = signed_zero(boundary.input_zero, boundary.input_unsigned);
  c.weight_zero = signed_zero(weights.zero_point, weights.is_unsigned);
  c.output_flip = boundary.output_unsigned ? 0x80 : 0;
  const size_t lanes = (size_t)groups * (size_t)c.panels * (size_t)level.lanes;
  c.weights.assign(lanes * (size_t)c.padded_depth, 0);
  c.start.assign(lanes, 0);
  c.requantization =
      start_requantization(parameters, window.out_c, lanes, boundary.output_unsigned);
  for (int channel = 0; channel < window.out_c; ++channel) {
    const int in_group = channel % c.group_out;
    const size_t panel = (size_t)(channel / c.group_out * c.panels + in_group / level.lanes);
    const size_t lane = (size_t)(in_group % level.lanes);
    int8_t* to = c.weights.data() + panel * (size_t)level.lanes * (size_t)c.padded_depth;
    Sums sums;
    for (int k = 0; k < c.depth; ++k) {
      const int8_t w = signed_weight(weights, (int64_t)channel * c.depth + k);
      to[((size_t)(k / level.group) * (size_t)level.lanes + lane) * (size_t)level.group +
         (size_t)(k % level.group)] = w;
      sums.add(w - c.weight_zero);
    }
    const int32_t first = bias ? bias[channel] : 0;
    const size_t place = panel * (size_t)level.lanes + lane;
    c.start[place] = sums.start(first, c.input_zero + level.activation_offset);
    set_lane(c.requantization, parameters, channel, place, sums.reach(first));
  }
  return c;
}

Depthwise pack_depthwise(const Level& level, const Window& window, int first_channel,
                         int last_channel, const Weights& weights, const int32_t* bias,
                         const Boundary& boundary, const Parameters& parameters) {
  check_window(window);
  require(window.in_c == window.out_c, "a depthwise layer has as many outputs as inputs");
  require(0 <= first_channel && first_channel < last_channel && last_channel <= window.in_c,
          "the slice of channels lies outside the image");
  const int block = level.channel_block;
  const int taps = window.kernel_h * window.kernel_w, pairs = (taps + 1) / 2;
  Depthwise d;
  d.window = window;
  d.first_channel = first_channel;
  d.last_channel = last_channel;
  d.blocks = (last_channel - first_channel + block - 1) / block;
  d.input_flip = boundary.input_unsigned ? 0x80 : 0;
  d.input_zero = signed_zero(boundary.input_zero, boundary.input_unsigned);
  d.output_flip = boundary.output_unsigned ? 0x80 : 0;
  const int32_t weight_zero = signed_zero(weights.zero_point, weights.is_unsigned);
  const size_t lanes = (size_t)d.blocks * (size_t)block;
  d.weights.assign(lanes * (size_t)pairs * 2, 0);
  d.start.assign(lanes, 0);
  d.requantization =
      start_requantization(parameters, window.out_c, lanes, boundary.output_unsigned);
  for (size_t lane = 0; lane < lanes; ++lane) {
    const size_t in_block = lane % (size_t)block, first_lane = lane - in_block;
    const int channel = first_channel + (int)first_lane + level.channel_order[in_block];
    if (channel >= last_channel) continue;
    Sums sums;
    for (int t = 0; t < taps; ++t) {
      const int32_t w = signed_weight(weights, (int64_t)t * window.in_c + channel) - weight_zero;
      d.weights[first_lane * (size_t)pairs * 2 + ((size_t)(t / 2) * (size_t)block + in_block) * 2 +
                (size_t)(t % 2)] = (int16_t)w;
      sums.add(w);
    }
    const int32_t first = bias ? bias[channel] : 0;
    d.start[lane] = sums.start(first, d.input_zero);
    set_lane(d.requantization, parameters, channel, lane, sums.reach(first));
  }
  return d;
}

MatrixProduct pack_product(const Level& level, const std::vector<int>& sizes,
                           const std::vector<int32_t>& zeros, const std::vector<bool>& flags,
                           const Parameters& parameters) {
  require(sizes.size() == 3 && zeros.size() == 2 && flags.size() == 5,
          "a product has 3 sizes, 2 zero points and 5 flags");
  for (int size : sizes) require(size >= 1 && size <= (1 << 15), "a size is not within 1 to 2^15");
  MatrixProduct p;
  p.rows = sizes[0], p.depth = sizes[1], p.columns = sizes[2];
  p.first_turned = flags[0], p.second_turned = flags[1];
  p.first_unsigned = flags[2], p.second_unsigned = flags[3], p.output_unsigned = flags[4];
  p.first_zero = zeros[0], p.second_zero = zeros[1];
  signed_zero(zeros[0], p.first_unsigned);  // or throws
  signed_zero(zeros[1], p.second_unsigned);
  p.output_flip = p.output_unsigned ? 0x80 : 0;
  const auto lanes = (size_t)level.lanes * 8;
  p.requantization = start_requantization(parameters, 1, lanes, p.output_unsigned);
  const double reach = 255.0 * 255.0 * p.depth;
  require(reach < kInt32, "a sum may leave 32 bits");
  for (size_t lane = 0; lane < lanes; ++lane) {
    set_lane(p.requantization, parameters, 0, lane, reach);
  }
  return p;
}

Addition pack_addition(const Terms& t, bool inputs_unsigned, bool output_unsigned) {
  const int64_t first = t.first, second = t.second;
  require(t.shift >= 1 && t.shift <= 31, "the shift is outside 1 to 31");
  const int64_t half = int64_t{1} << (t.shift - 1);
  require(255 * (std::abs(first) + std::abs(second)) + half < (int64_t)kInt32,
          "a sum may leave 32 bits");
  Addition a;
  a.first = t.first;
  a.second = t.second;
  a.shift = t.shift;
  // Wraps as the sum does, whose true value fits.
  a.offset =
      (int32_t)(uint32_t)(uint64_t)(half - first * signed_zero(t.first_zero, inputs_unsigned) -
                                    second * signed_zero(t.second_zero, inputs_unsigned));
  a.input_flip = inputs_unsigned ? 0x80 : 0;
  a.output_flip = output_unsigned ? 0x80 : 0;
  check_output(t.output_zero, t.low, t.high, output_unsigned);
  a.requantization.zero_point = t.output_zero;
  a.requantization.low = t.low;
  a.requantization.high = t.high;
  return a;
}

}  // namespace edgefarm
