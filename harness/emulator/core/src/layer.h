// What a prepared layer is: geometry, packed constants and requantization, free of any instruction
// set. The kernels (kernels.h) read it; the binding (module.cpp) fills it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgefarm {

// The roundings of harness/arithmetic/requantize.py; S6 is S3 with another (multiplier, shift).
enum class Rounding { kS1, kS2, kS3, kS4, kS5, kS7 };

// Per-channel parameters, padded to whole vectors. Only those of the rounding in use are filled.
struct Requantization {
  Rounding rounding = Rounding::kS1;
  std::vector<int32_t> multiplier;  // S1, S2, S3, S7
  std::vector<int32_t> left;        // S1, S2, S7: shift before the product
  std::vector<int32_t> right;  // S1, S2, S7: shift after it (S7: before); S3: of the 64-bit product
  std::vector<float> scale;    // S5
  std::vector<double> scale64;  // S4
  int32_t zero_point = 0;       // of the output, like low and high
  int32_t low = 0;
  int32_t high = 0;
};

// A window that slides over an NHWC image. Offsets count elements, which are bytes.
struct Window {
  int in_h, in_w, in_c;
  int out_h, out_w, out_c;
  int kernel_h, kernel_w;
  int stride_h, stride_w;
  int dilation_h, dilation_w;
  int pad_top, pad_left;

  int64_t in_size() const { return int64_t{1} * in_h * in_w * in_c; }
  int64_t out_size() const { return int64_t{1} * out_h * out_w * out_c; }
};

// A convolution as a matrix product. Weights are kept as `w - 128 * is_unsigned`, signed bytes, in
// panels of `lanes` output channels: [panel][depth / group][lane][group].
struct Convolution {
  Window window;
  int depth;           // kernel_h * kernel_w * channels of one group
  int groups;          // of channels; each has its own panels and its own slice of input and output
  int group_in;        // input channels of one group
  int group_out;       // output channels of one group
  int padded_depth;    // depth rounded up to the dot product's group
  int panels;          // of one group
  uint8_t input_flip;  // XOR that turns a stored byte into a signed one: 0x80 for uint8, else 0
  int32_t input_zero;  // zero point of the input as a signed byte
  int32_t weight_zero;  // of the weights, likewise
  uint8_t output_flip;
  std::vector<int8_t> weights;
  std::vector<int32_t> start;  // accumulator's first value: bias and every constant correction
  Requantization requantization;
};

// A depthwise convolution with multiplier 1. Weights are `w - zero point` as int16, in the order
// the kernel wants: [block of channels][tap / 2][channel][2].
struct Depthwise {
  Window window;
  int blocks;
  uint8_t input_flip;
  int32_t input_zero;
  uint8_t output_flip;
  std::vector<int16_t> weights;
  std::vector<int32_t> start;
  Requantization requantization;    // in the kernel's channel order, like `start`
  int first_channel, last_channel;  // the slice of the image's channels that this layer computes
};

// y = clip((first * x1 + second * x2 + offset >> shift) + zero point) of bytes, element by element.
struct Addition {
  int32_t first, second;  // multipliers
  int32_t offset;         // for signed bytes: zero points and the half that rounds
  int32_t shift;          // 1 .. 31
  uint8_t input_flip, output_flip;
  Requantization requantization;  // its zero point and range only
};

// Scratch memory of one thread, kept between calls.
struct Scratch {
  std::vector<uint8_t> bytes;
  uint8_t* at_least(size_t size) {
    if (bytes.size() < size) bytes.resize(size);
    return bytes.data();
  }
};

struct HybridConvolution;  // hybrid.h, as the two below
struct HybridDepthwise;
struct RowRange;
struct RowParameters;
enum class Rows;
struct WideConvolution;  // wide.h, as the two below
struct WideDepthwise;
struct Halves;

// One dispatch level: how it packs and what it runs. Rows of a convolution are output pixels, all
// images of the batch in sequence; rows of a depthwise are output lines.
struct Level {
  const char* name;
  int lanes;                 // output channels in a panel
  int group;                 // consecutive k of one dot product
  int activation_offset;     // what packed activations are above signed bytes
  int channel_block;         // channels of a depthwise block
  const int* channel_order;  // the place of each channel of a block in its weights
  int (*row_block)(const Convolution&);
  void (*convolve)(const Convolution&, const uint8_t* in, uint8_t* out, int64_t first_row,
                   int64_t last_row, int first_panel, int last_panel, Scratch&);
  void (*depthwise)(const Depthwise&, const uint8_t* in, uint8_t* out, int64_t first_row,
                    int64_t last_row, Scratch&);
  void (*add)(const Addition&, const uint8_t* x1, const uint8_t* x2, uint8_t* out, int64_t size);
  // acc[c] = sum over k of a[k] * b[k][c]; columns are a multiple of 64.
  void (*multiply_row)(const int32_t* a, const int32_t* b, int depth, int columns, int32_t* acc);
  // Parameters that are alike in all lanes; `acc` may be read up to the next multiple of 64.
  void (*requantize_row)(const Requantization&, uint8_t flip, const int32_t* acc, uint8_t* out,
                         int count);
  RowRange (*find_range)(const float* x, int64_t count);
  void (*quantize)(Rows, const float* x, int64_t count, const RowParameters&, int8_t* to);
  void (*hybrid_convolve)(const HybridConvolution&, const int8_t* in, const RowParameters*,
                          float* out, int64_t first_row, int64_t last_row, int first_panel,
                          int last_panel, Scratch&);
  void (*hybrid_depthwise)(const HybridDepthwise&, const int8_t* in, const RowParameters*,
                           float* out, int64_t first_row, int64_t last_row, Scratch&);
  void (*wide_convolve)(const WideConvolution&, const Halves& in, int16_t* out, int64_t first_row,
                        int64_t last_row, int first_panel, int last_panel, Scratch&);
  // `out`: where the first row goes.
  void (*wide_depthwise)(const WideDepthwise&, const int16_t* in, int16_t* out, int64_t first_row,
                         int64_t last_row, Scratch&);
};

// The best level that this processor runs; `name` forces one, null if it cannot run here.
const Level* best_level();
const Level* find_level(const char* name);

}  // namespace edgefarm
