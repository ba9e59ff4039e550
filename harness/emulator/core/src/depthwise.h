// Depthwise convolution with multiplier 1, for any instruction set V.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "layer.h"
#include "requantize.h"

namespace edgefarm {

template <class V>
struct DepthwiseKernels {
  using I32 = typename V::I32;
  using Finish = Finishing<V>;

  static constexpr int kPixels = 16;  // of a line, done together: they stay in the first cache

  // The taps of neighbouring output pixels, `2 * pairs` pointers each; padding points at a line of
  // the input's zero point, and so does an odd last tap, which meets a weight of zero. `steps` is
  // room for as many numbers as a pixel has pointers.
  template <class T>
  static void find_taps(const Window& w, const T* image, int y, int first_x, int last_x,
                        const T* padding, const T** taps, int64_t* steps) {
    const int count = (w.kernel_h * w.kernel_w + 1) / 2 * 2;
    bool ready = false;
    for (int x = first_x; x < last_x; ++x, taps += count) {
      const int left = x * w.stride_w - w.pad_left;
      const bool inside = left >= 0 && left + (w.kernel_w - 1) * w.dilation_w < w.in_w;
      if (inside && ready) {  // as the pixel before, one stride on
        for (int t = 0; t < count; ++t) taps[t] = taps[t - count] + steps[t];
        continue;
      }
      find_pixel_taps(w, image, y, left, padding, taps);
      ready = inside;
      for (int t = 0; inside && t < count; ++t) {
        steps[t] = taps[t] == padding ? 0 : (int64_t)w.stride_w * w.in_c;
      }
    }
  }

  template <class T>
  static void find_pixel_taps(const Window& w, const T* image, int y, int left, const T* padding,
                              const T** taps) {
    for (int ky = 0; ky < w.kernel_h; ++ky) {
      const int iy = y * w.stride_h - w.pad_top + ky * w.dilation_h;
      for (int kx = 0; kx < w.kernel_w; ++kx) {
        const int ix = left + kx * w.dilation_w;
        const bool inside = iy >= 0 && iy < w.in_h && ix >= 0 && ix < w.in_w;
        *taps++ = inside ? image + ((int64_t)iy * w.in_w + ix) * w.in_c : padding;
      }
    }
    if (w.kernel_h * w.kernel_w % 2 != 0) *taps = padding;
  }

  // One block of channels of one pixel, which `finish` brings to the output.
  template <int kPairs, class T, class Out, class F>
  static inline __attribute__((always_inline)) void depthwise_block(
      const Depthwise& layer, const T* const* taps, int64_t channel, int64_t lane,
      const int16_t* weights, const F& finish, Out* __restrict out, int width) {
    const int pairs = kPairs ? kPairs : (layer.window.kernel_h * layer.window.kernel_w + 1) / 2;
    I32 acc[V::kVectors];
    for (int v = 0; v < V::kVectors; ++v) {
      acc[v] = V::load(layer.start.data() + lane + v * V::kLanes);
    }
    for (int t = 0; t < pairs; ++t) {
      V::accumulate_taps(acc, taps[2 * t] + channel, taps[2 * t + 1] + channel,
                         weights + t * V::kChannels * 2, layer.input_flip);
    }
    finish(acc, lane, out, width);
  }

  template <int kPairs, class T, class Out, class F>
  static void depthwise_pixels(const Depthwise& layer, const T* const* taps, int pixels,
                               const F& finish, bool may_read_on, uint8_t* narrow,
                               Out* __restrict out) {
    const Window& w = layer.window;
    const int pairs = (w.kernel_h * w.kernel_w + 1) / 2;
    for (int block = 0; block < layer.blocks; ++block) {
      const int channel = layer.first_channel + block * V::kChannels;
      const int64_t lane = (int64_t)block * V::kChannels;
      const int16_t* weights = layer.weights.data() + lane * pairs * 2;
      const int left = layer.last_channel - channel;
      for (int x = 0; x < pixels; ++x) {
        const T* const* own = taps + (int64_t)x * 2 * pairs;
        Out* to = out + (int64_t)x * w.out_c + channel;
        if (left >= V::kChannels || may_read_on) {
          depthwise_block<kPairs>(layer, own, channel, lane, weights, finish, to,
                                  left < V::kChannels ? left : V::kChannels);
        } else {
          // Narrower than the vectors, at the end of the image: the taps are copied to where
          // reading on is harmless.
          const T** copies = (const T**)narrow;
          auto* copy = (T*)(narrow + 2 * pairs * sizeof(T*));
          for (int t = 0; t < 2 * pairs; ++t, copy += V::kChannels) {
            std::memcpy(copy, own[t] + channel, (size_t)left * sizeof(T));
            copies[t] = copy;
          }
          depthwise_block<kPairs>(layer, copies, 0, lane, weights, finish, to, left);
        }
      }
    }
  }

  // `out`: where the first row goes. `zero_of`: the zero point of an image as it is stored; `finish_of`: what finishes its pixels.
  template <class T, class Out, class Zero, class Finishes>
  static void depthwise_lines(const Depthwise& layer, const T* in, Out* out,
                              int64_t first_row, int64_t last_row, Scratch& scratch, Zero zero_of,
                              Finishes finish_of) {
    const Window& w = layer.window;
    const int pairs = (w.kernel_h * w.kernel_w + 1) / 2;
    const int64_t pointers = (int64_t)2 * pairs * sizeof(T*);
    const int64_t narrow = pointers + (int64_t)2 * pairs * V::kChannels * sizeof(T);
    const int64_t line = w.in_c + V::kChannels;
    uint8_t* memory =
        scratch.at_least((size_t)((kPixels + 1) * pointers + narrow) + line * sizeof(T));
    auto** taps = (const T**)memory;
    auto* steps = (int64_t*)(memory + kPixels * pointers);
    uint8_t* copies = memory + (kPixels + 1) * pointers;
    auto* padding = (T*)(copies + narrow);
    int64_t padded = -1;  // the image whose zero point the padding holds
    for (int64_t row = first_row; row < last_row; ++row) {
      const int64_t index = row / w.out_h;
      if (index != padded) {
        std::fill_n(padding, line, (T)zero_of(index));
        padded = index;
      }
      const T* image = in + index * w.in_size();
      const auto finish = finish_of(index);
      using F = decltype(finish_of(index));
      // The usual windows, 3 x 3 and 5 x 5, are unrolled.
      const auto run = pairs == 5    ? &depthwise_pixels<5, T, Out, F>
                       : pairs == 13 ? &depthwise_pixels<13, T, Out, F>
                                     : &depthwise_pixels<0, T, Out, F>;
      // Whether what a vector reads behind its channels is still of this image.
      const int64_t bottom = row % w.out_h * w.stride_h - w.pad_top +
                             (int64_t)(w.kernel_h - 1) * w.dilation_h;
      const bool may_read_on =
          (w.in_h - 1 - bottom) * w.in_w * w.in_c >= (int64_t)V::kChannels;
      for (int x = 0; x < w.out_w; x += kPixels) {
        const int last_x = x + kPixels < w.out_w ? x + kPixels : w.out_w;
        find_taps(w, image, (int)(row % w.out_h), x, last_x, padding, taps, steps);
        run(layer, taps, last_x - x, finish, may_read_on, copies,
            out + ((row - first_row) * w.out_w + x) * w.out_c);
      }
    }
  }

  template <Rounding R>
  static void depthwise_as(const Depthwise& layer, const uint8_t* in, uint8_t* out,
                           int64_t first_row, int64_t last_row, Scratch& scratch) {
    const Requantization& q = layer.requantization;
    const typename V::Output output = Finish::output_of(q, layer.output_flip);
    const float cap = Finish::cap_of(q);
    const auto finish = [&](I32(&acc)[V::kVectors], int64_t lane, uint8_t* to, int width) {
      for (int v = 0; v < V::kVectors; ++v) {
        acc[v] = Finish::template requantize<R>(acc[v], q, lane + v * V::kLanes, cap);
      }
      V::store_block(acc, output, to, width);
    };
    const auto zero = (uint8_t)((uint8_t)layer.input_zero ^ layer.input_flip);
    depthwise_lines(
        layer, in, out + first_row * layer.window.out_w * layer.window.out_c, first_row, last_row,
        scratch, [=](int64_t) { return zero; },
        [&](int64_t) { return finish; });
  }

  static void depthwise(const Depthwise& layer, const uint8_t* in, uint8_t* out, int64_t first_row,
                        int64_t last_row, Scratch& scratch) {
    switch (layer.requantization.rounding) {
#define EDGEFARM_CASE(R) \
  case Rounding::R:      \
    return depthwise_as<Rounding::R>(layer, in, out, first_row, last_row, scratch);
      EDGEFARM_CASE(kS1)
      EDGEFARM_CASE(kS2)
      EDGEFARM_CASE(kS3)
      EDGEFARM_CASE(kS4)
      EDGEFARM_CASE(kS5)
      EDGEFARM_CASE(kS7)
#undef EDGEFARM_CASE
    }
  }
};

}  // namespace edgefarm
