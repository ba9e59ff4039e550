// Plain C++: eight int32 lanes as an array, which compilers turn into whatever vectors they have.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace edgefarm {

struct Portable {
  static constexpr const char* kName = "portable";
  static constexpr int kLanes = 8;
  static constexpr int kGroup = 2;
  static constexpr int kRows = 4;
  static constexpr int kPanels = 1;
  using Activation = int16_t;
  static constexpr uint8_t kActivationFlip = 0;
  struct I32 {
    int32_t lane[kLanes];
  };
  struct Words {
    int16_t word[kLanes * kGroup];
  };

  // Lane by lane; int32 arithmetic that may overflow goes through uint32, where it wraps.
  template <class F>
  static I32 map(F f) {
    I32 y;
    for (int i = 0; i < kLanes; ++i) y.lane[i] = (int32_t)f(i);
    return y;
  }
  static I32 load(const int32_t* p) {
    I32 x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(int32_t* p, I32 x) { std::memcpy(p, &x, sizeof x); }
  static I32 splat(int32_t x) {
    return map([x](int) { return x; });
  }
  static I32 sub(I32 a, I32 b) {
    return map([&](int i) { return (uint32_t)a.lane[i] - (uint32_t)b.lane[i]; });
  }

  static I32 add(I32 a, I32 b) {
    return map([&](int i) { return (uint32_t)a.lane[i] + (uint32_t)b.lane[i]; });
  }
  static I32 multiply(I32 a, I32 b) {
    return map([&](int i) { return (uint32_t)a.lane[i] * (uint32_t)b.lane[i]; });
  }
  static I32 shift_right(I32 x, int n) {
    return map([&](int i) { return x.lane[i] >> n; });
  }
  static I32 load_bytes(const uint8_t* p, uint8_t flip) {
    return map([&](int i) { return (int8_t)(p[i] ^ flip); });
  }

  // --- Matrix product -------------------------------------------------------------------------
  static Words load_weights(const int8_t* p) {
    Words w;
    for (int i = 0; i < kLanes * kGroup; ++i) w.word[i] = p[i];
    return w;
  }
  static const Activation* broadcast_group(const Activation* p) { return p; }
  static I32 dot(I32 acc, const Activation* a, const Words& b) {
    return map([&](int i) {
      const int32_t sum = a[0] * b.word[2 * i] + a[1] * b.word[2 * i + 1];
      return (uint32_t)acc.lane[i] + (uint32_t)sum;
    });
  }
  static void widen(Activation* to, const uint8_t* from, int64_t count, uint8_t flip) {
    for (int64_t i = 0; i < count; ++i) to[i] = (int8_t)(from[i] ^ flip);
  }

  // --- Depthwise: 8 channels, taps in pairs
  // -------------------------------------------------------
  static constexpr int kChannels = 8;
  static constexpr int kVectors = 1;
  static constexpr int kOrder[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  static void accumulate_taps(I32 (&acc)[kVectors], const uint8_t* tap0, const uint8_t* tap1,
                              const int16_t* weights, uint8_t flip) {
    acc[0] = map([&](int i) {
      const int32_t sum =
          (int8_t)(tap0[i] ^ flip) * weights[2 * i] + (int8_t)(tap1[i] ^ flip) * weights[2 * i + 1];
      return (uint32_t)acc[0].lane[i] + (uint32_t)sum;
    });
  }

  static void accumulate_taps(I32 (&acc)[kVectors], const int16_t* tap0, const int16_t* tap1,
                              const int16_t* weights, uint8_t) {
    acc[0] = map([&](int i) {
      const int32_t sum = tap0[i] * weights[2 * i] + tap1[i] * weights[2 * i + 1];
      return (uint32_t)acc[0].lane[i] + (uint32_t)sum;
    });
  }

  // --- Requantization ---------------------------------------------------------------------------
  static I32 shift_left(I32 x, I32 n) {
    return map([&](int i) { return (uint32_t)x.lane[i] << n.lane[i]; });
  }
  static I32 doubling_high(I32 x, I32 m) {
    return map([&](int i) { return ((int64_t)x.lane[i] * m.lane[i] + (int64_t{1} << 30)) >> 31; });
  }
  static I32 shift_ties_up(I32 x, I32 n) {
    return map([&](int i) {
      const int64_t half = (int64_t{1} << n.lane[i]) >> 1;
      return (x.lane[i] + half) >> n.lane[i];
    });
  }
  static I32 shift_ties_away(I32 x, I32 n) {
    return map([&](int i) {
      const int64_t mask = (int64_t{1} << n.lane[i]) - 1;
      const int64_t threshold = (mask >> 1) + (x.lane[i] < 0);
      return (x.lane[i] >> n.lane[i]) + ((x.lane[i] & mask) > threshold);
    });
  }
  // floor(x * m / 2^n + 1/2), n in 16..62; the result must fit in 32 bits.
  static I32 multiply_shift(I32 x, I32 m, I32 n) {
    return map([&](int i) {
      const int64_t half = int64_t{1} << (n.lane[i] - 1);
      return ((int64_t)x.lane[i] * m.lane[i] + half) >> n.lane[i];
    });
  }
  static I32 scale_single(I32 x, const float* scale, float cap) {
    // Adding and taking off 1.5 * 2^23 rounds to an integer, ties to even, for |y| <= 2^22. Below
    // the range the output clamps to its low bound: any value that far down will do.
    constexpr float kMagic = 12582912.0f, kLowest = -65536.0f;
    return map([&](int i) {
      const float product = (float)x.lane[i] * scale[i];
      const float capped = product < cap ? product : cap;
      return (int32_t)(((capped > kLowest ? capped : kLowest) + kMagic) - kMagic);
    });
  }
  static I32 scale_double(I32 x, const double* scale) {
    return map([&](int i) { return (int32_t)std::round((double)x.lane[i] * scale[i]); });
  }
  static I32 rndnu16(I32 x, I32 m, I32 left, I32 right) {
    return map([&](int i) {
      const int64_t half = (int64_t{1} << right.lane[i]) >> 1;
      const int64_t wide = (int64_t)x.lane[i] * (int64_t{1} << left.lane[i]);
      const int64_t shifted = (wide + half) >> right.lane[i];
      const int64_t word = shifted < -32768 ? -32768 : shifted > 32767 ? 32767 : shifted;
      return (word * m.lane[i] + (1 << 14)) >> 15;
    });
  }

  // --- Output -----------------------------------------------------------------------------------
  struct Output {
    int32_t zero_point, low, high;
    uint8_t flip;
    Output(int zero, int lo, int hi, uint8_t mask)
        : zero_point(zero), low(lo), high(hi), flip(mask) {}
    uint8_t finish(int32_t x) const {
      // Saturates first, so that adding the zero point cannot wrap.
      const int32_t moved = (x < -65536 ? -65536 : x > 65536 ? 65536 : x) + zero_point;
      return (uint8_t)(moved < low ? low : moved > high ? high : moved) ^ flip;
    }
  };
  template <int kPanels>
  static void store_row(const I32 (&x)[kPanels], const Output& output, uint8_t* to, int count) {
    uint8_t bytes[kLanes];
    for (int i = 0; i < kLanes; ++i) bytes[i] = output.finish(x[0].lane[i]);
    std::memcpy(to, bytes, (size_t)count);
  }
  static void store_block(const I32 (&x)[kVectors], const Output& output, uint8_t* to, int count) {
    store_row(x, output, to, count);
  }
};

}  // namespace edgefarm
