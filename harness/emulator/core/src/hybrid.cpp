#include "hybrid.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "slices.h"

namespace edgefarm {
namespace {

constexpr int64_t kChunk = 1 << 14;  // elements of a row quantized as one; whole blocks of 8

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// Memory of the calling thread, kept between calls.
struct Workspace {
  std::vector<int8_t> values;
  std::vector<RowRange> ranges;
  std::vector<RowParameters> parameters;
  void resize(int64_t elements, int64_t chunks, int64_t rows) {
    if ((int64_t)values.size() < elements) values.resize((size_t)elements);
    if ((int64_t)ranges.size() < chunks) ranges.resize((size_t)chunks);
    if ((int64_t)parameters.size() < rows) parameters.resize((size_t)rows);
  }
};

Workspace& workspace() {
  thread_local Workspace own;
  return own;
}

RowParameters affine(const RowRange& range) {
  const float span = range.high - range.low;
  const float inverse = 255.0f / (span == 0 ? 255.0f : span);
  const float below = range.low * inverse, above = range.high * inverse;
  const bool from_low = (-128.0f + below) + (127.0f + above) > 0;
  const float zero = from_low ? -128.0f - below : 127.0f - above;
  const float clipped = zero < -128.0f ? -128.0f : zero > 127.0f ? 127.0f : zero;
  return {inverse, 1.0f / inverse, (int32_t)std::nearbyint(clipped), -128};
}

RowParameters symmetric(const RowRange& range) {
  const float largest = std::max(-range.low, range.high);
  const float safe = largest == 0 ? 127.0f : largest;
  return {127.0f / safe, safe / 127.0f, 0, -127};
}

RowParameters asymmetric(const RowRange& range) {
  const bool empty = range.low == range.high;
  const double step = empty ? 1.0 : (double)(range.high - range.low) / 255.0;
  const double below = range.low / step, above = range.high / step;
  const bool from_low = 128.0 + std::fabs(below) < 127.0 + std::fabs(above);
  const double zero = std::round(from_low ? -128.0 - below : 127.0 - above);
  const double clipped = zero < -128.0 ? -128.0 : zero > 127.0 ? 127.0 : zero;
  const auto scale = (float)step;
  return {1.0f / scale, scale, empty ? 0 : (int32_t)clipped, -128};
}

// The rows of a batch to int8, in three passes: ranges of chunks, parameters of rows, values.
bool quantize_rows(const Level& level, Rows rows, int64_t row, const float* in, int64_t count,
                   int threads, Workspace& work) {
  const int64_t chunk = std::min(row, kChunk), per_row = divide_up(row, chunk);
  const int64_t chunks = count * per_row;
  work.resize(count * row, chunks, count);
  const int64_t slice = std::max<int64_t>(1, divide_up(kChunk, chunk));
  const auto each = [&](auto run) {
    for_slices(chunks, slice, threads, [&](int64_t first, int64_t last, Scratch&) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t at = i % per_row * chunk;
        run(i, i / per_row * row + at, std::min(chunk, row - at));
      }
    });
  };
  each([&](int64_t i, int64_t at, int64_t size) {
    work.ranges[(size_t)i] = level.find_range(in + at, size);
  });
  for (int64_t r = 0; r < count; ++r) {
    RowRange range{0.0f, 0.0f};
    for (int64_t i = r * per_row; i < (r + 1) * per_row; ++i) {
      const RowRange& part = work.ranges[(size_t)i];
      if (std::isnan(part.low)) return false;
      range.low = std::min(range.low, part.low);
      range.high = std::max(range.high, part.high);
    }
    if (!find_parameters(rows, range, work.parameters[(size_t)r])) return false;
  }
  each([&](int64_t i, int64_t at, int64_t size) {
    level.quantize(rows, in + at, size, work.parameters[(size_t)(i / per_row)],
                   work.values.data() + at);
  });
  return true;
}

Boundary signed_boundary() {
  return {false, 0, false};
}

// Requantization that nothing uses: the products of a hybrid layer leave it as sums.
Parameters no_requantization(int channels) {
  return {5, {}, {}, std::vector<double>((size_t)channels, 0.0), 0, -128, 127};
}

Scaling start_scaling(const ScalingTerms& terms, int channels, size_t lanes) {
  const auto count = (size_t)channels;
  require(terms.scale.size() == count && terms.bias.size() == count,
          "scaling needs one value for each output channel");
  require(terms.expression >= 0 && terms.expression <= (int)Expression::kBlocksOf4,
          "the expression is not one there is");
  require(!std::isnan(terms.low) && !std::isnan(terms.high), "the range has an end that is none");
  Scaling s;
  s.expression = (Expression)terms.expression;
  s.low = terms.low;
  s.high = terms.high;
  s.sums.assign(lanes, 0);
  s.scale.assign(lanes, 0.0f);
  s.bias.assign(lanes, 0.0f);
  return s;
}

Rows rows_of(int number) {
  require(number >= 0 && number <= (int)Rows::kAsymmetricHalfAdded, "the rows are none there are");
  return (Rows)number;
}

}  // namespace

bool find_parameters(Rows rows, const RowRange& range, RowParameters& parameters) {
  const float width = range.high - range.low;
  if (!std::isfinite(width) || (width != 0 && !std::isfinite(255.0f / width))) return false;
  switch (rows) {
    case Rows::kQd8:
    case Rows::kQp8:
      parameters = affine(range);
      break;
    case Rows::kSymmetricAway:
    case Rows::kSymmetricHalfAdded:
      parameters = symmetric(range);
      break;
    case Rows::kAsymmetricAway:
    case Rows::kAsymmetricHalfAdded:
      parameters = asymmetric(range);
  }
  return std::isfinite(parameters.inverse);
}

HybridConvolution pack_hybrid_convolution(const Level& level, const Window& window, int groups,
                                          const Weights& weights, int64_t row, int rows,
                                          const ScalingTerms& terms) {
  HybridConvolution h{pack_convolution(level, window, groups, weights, nullptr, signed_boundary(),
                                       no_requantization(window.out_c)),
                      row, rows_of(rows), {}};
  const Convolution& c = h.product;
  const bool pixels = window.kernel_h == 1 && window.kernel_w == 1 && window.stride_h == 1 &&
                      window.stride_w == 1 && window.pad_top == 0 && window.pad_left == 0 &&
                      window.out_h == window.in_h && window.out_w == window.in_w;
  require(row == window.in_size() || (pixels && row == window.in_c),
          "a row is neither an image nor a pixel");
  h.scaling = start_scaling(terms, window.out_c, c.start.size());
  for (int channel = 0; channel < window.out_c; ++channel) {
    const int in_group = channel % c.group_out;
    const auto lane = (size_t)(channel / c.group_out * c.panels * level.lanes + in_group);
    uint32_t sum = 0;
    for (int k = 0; k < c.depth; ++k) {
      sum += (uint32_t)(int8_t)weights.data[(int64_t)channel * c.depth + k];
    }
    h.scaling.sums[lane] = (int32_t)sum;
    h.scaling.scale[lane] = terms.scale[(size_t)channel];
    h.scaling.bias[lane] = terms.bias[(size_t)channel];
  }
  return h;
}

HybridDepthwise pack_hybrid_depthwise(const Level& level, const Window& window,
                                      const Weights& weights, int64_t row, int rows,
                                      const ScalingTerms& terms) {
  HybridDepthwise h{pack_depthwise(level, window, 0, window.in_c, weights, nullptr,
                                   signed_boundary(), no_requantization(window.out_c)),
                    row, rows_of(rows), {}};
  require(row == window.in_size(), "a row is not an image");
  h.scaling = start_scaling(terms, window.out_c, h.product.start.size());
  for (int channel = 0; channel < window.out_c; ++channel) {
    int32_t sum = 0;
    for (int t = 0; t < window.kernel_h * window.kernel_w; ++t) {
      sum += (int8_t)weights.data[(int64_t)t * window.in_c + channel];
    }
    h.scaling.sums[(size_t)channel] = sum;
    h.scaling.scale[(size_t)channel] = terms.scale[(size_t)channel];
    h.scaling.bias[(size_t)channel] = terms.bias[(size_t)channel];
  }
  return h;
}

bool run(const Level& level, const HybridConvolution& layer, const float* in, float* out,
         int64_t batch, int threads) {
  Workspace& work = workspace();
  const int64_t count = batch * layer.product.window.in_size() / layer.row;
  if (!quantize_rows(level, layer.rows, layer.row, in, count, threads, work)) return false;
  for_blocks(level, layer.product, batch, threads,
             [&](int64_t first, int64_t last, int first_panel, int last_panel, Scratch& scratch) {
               level.hybrid_convolve(layer, work.values.data(), work.parameters.data(), out, first,
                                     last, first_panel, last_panel, scratch);
             });
  return true;
}

bool run(const Level& level, const HybridDepthwise& layer, const float* in, float* out,
         int64_t batch, int threads) {
  Workspace& work = workspace();
  if (!quantize_rows(level, layer.rows, layer.row, in, batch, threads, work)) return false;
  for_lines(layer.product, batch, threads, [&](int64_t first, int64_t last, Scratch& scratch) {
    level.hybrid_depthwise(layer, work.values.data(), work.parameters.data(), out, first, last,
                           scratch);
  });
  return true;
}

}  // namespace edgefarm
