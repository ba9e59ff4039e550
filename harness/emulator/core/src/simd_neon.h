// NEON with the dot product extension (Armv8.2-A): four int32 lanes; dot products of four by SDOT.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace edgefarm {

struct Neon {
  static constexpr const char* kName = "neon-dotprod";
  static constexpr int kLanes = 4;
  static constexpr int kGroup = 4;
  static constexpr int kRows = 6;
  static constexpr int kPanels = 4;
  using Activation = int8_t;  // SDOT multiplies signed bytes
  static constexpr uint8_t kActivationFlip = 0;
  using I32 = int32x4_t;

  static I32 load(const int32_t* p) { return vld1q_s32(p); }
  static void store(int32_t* p, I32 x) { vst1q_s32(p, x); }
  static I32 splat(int32_t x) { return vdupq_n_s32(x); }
  static I32 sub(I32 a, I32 b) { return vsubq_s32(a, b); }

  static I32 add(I32 a, I32 b) { return vaddq_s32(a, b); }
  static I32 multiply(I32 a, I32 b) { return vmulq_s32(a, b); }
  static I32 shift_right(I32 x, int n) { return vshlq_s32(x, vdupq_n_s32(-n)); }
  static I32 load_bytes(const uint8_t* p, uint8_t flip) {
    uint32_t four;
    std::memcpy(&four, p, sizeof four);
    const uint8x8_t bytes = veor_u8(vcreate_u8(four), vdup_n_u8(flip));
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(bytes))));
  }

  // --- Matrix product -------------------------------------------------------------------------
  static int8x16_t load_weights(const int8_t* p) { return vld1q_s8(p); }
  static int8x16_t broadcast_group(const Activation* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  static I32 dot(I32 acc, int8x16_t a, int8x16_t b) { return vdotq_s32(acc, a, b); }

  // Bytes to activations; neither reads nor writes past the end.
  static void widen(Activation* to, const uint8_t* from, int64_t count, uint8_t flip) {
    const uint8x16_t mask = vdupq_n_u8(flip);
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) vst1q_u8((uint8_t*)to + i, veorq_u8(vld1q_u8(from + i), mask));
    for (; i < count; ++i) to[i] = (int8_t)(from[i] ^ flip);
  }

  // --- Depthwise: 16 channels, taps in pairs -----------------------------------------------------
  static constexpr int kChannels = 16;
  static constexpr int kVectors = 4;
  static constexpr int kOrder[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static void accumulate_taps(I32 (&acc)[kVectors], const uint8_t* tap0, const uint8_t* tap1,
                              const int16_t* weights, uint8_t flip) {
    const uint8x16_t mask = vdupq_n_u8(flip);
    const int8x16_t x0 = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(tap0), mask));
    const int8x16_t x1 = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(tap1), mask));
    // Weights of the two taps alternate: VLD2 takes them apart.
    const int16x8x2_t low = vld2q_s16(weights), high = vld2q_s16(weights + 16);
    accumulate(acc[0], acc[1], vmovl_s8(vget_low_s8(x0)), low.val[0]);
    accumulate(acc[0], acc[1], vmovl_s8(vget_low_s8(x1)), low.val[1]);
    accumulate(acc[2], acc[3], vmovl_s8(vget_high_s8(x0)), high.val[0]);
    accumulate(acc[2], acc[3], vmovl_s8(vget_high_s8(x1)), high.val[1]);
  }
  static void accumulate_taps(I32 (&acc)[kVectors], const int16_t* tap0, const int16_t* tap1,
                              const int16_t* weights, uint8_t) {
    const int16x8x2_t low = vld2q_s16(weights), high = vld2q_s16(weights + 16);
    accumulate(acc[0], acc[1], vld1q_s16(tap0), low.val[0]);
    accumulate(acc[0], acc[1], vld1q_s16(tap1), low.val[1]);
    accumulate(acc[2], acc[3], vld1q_s16(tap0 + 8), high.val[0]);
    accumulate(acc[2], acc[3], vld1q_s16(tap1 + 8), high.val[1]);
  }
  static void accumulate(I32& a, I32& b, int16x8_t x, int16x8_t w) {
    a = vmlal_s16(a, vget_low_s16(x), vget_low_s16(w));
    b = vmlal_high_s16(b, x, w);
  }

  // --- Requantization ---------------------------------------------------------------------------
  static I32 shift_left(I32 x, I32 n) { return vshlq_s32(x, n); }
  static I32 doubling_high(I32 x, I32 m) { return vqrdmulhq_s32(x, m); }
  static I32 shift_ties_up(I32 x, I32 n) { return vrshlq_s32(x, vnegq_s32(n)); }
  static I32 shift_ties_away(I32 x, I32 n) {
    const I32 mask = sub(vshlq_s32(splat(1), n), splat(1));
    const I32 threshold = sub(vshrq_n_s32(mask, 1), vshrq_n_s32(x, 31));
    const uint32x4_t up = vcgtq_s32(vandq_s32(x, mask), threshold);
    return sub(vshlq_s32(x, vnegq_s32(n)), vreinterpretq_s32_u32(up));
  }
  // floor(x * m / 2^n + 1/2), n in 1..62; the result must fit in 32 bits.
  static I32 multiply_shift(I32 x, I32 m, I32 n) {
    const int64x2_t low = vmull_s32(vget_low_s32(x), vget_low_s32(m));
    const int64x2_t high = vmull_high_s32(x, m);
    const I32 right = vnegq_s32(n);
    return vcombine_s32(vmovn_s64(vrshlq_s64(low, vmovl_s32(vget_low_s32(right)))),
                        vmovn_s64(vrshlq_s64(high, vmovl_high_s32(right))));
  }
  // rint(float(x) * scale), at most cap; saturates far below the range.
  static I32 scale_single(I32 x, const float* scale, float cap) {
    const float32x4_t product = vmulq_f32(vcvtq_f32_s32(x), vld1q_f32(scale));
    return vcvtnq_s32_f32(vminq_f32(product, vdupq_n_f32(cap)));
  }
  // round(double(x) * scale), ties away from zero; the result must fit in 32 bits.
  static I32 scale_double(I32 x, const double* scale) {
    const float64x2_t low = vcvtq_f64_s64(vmovl_s32(vget_low_s32(x)));
    const float64x2_t high = vcvtq_f64_s64(vmovl_high_s32(x));
    const int64x2_t a = vcvtaq_s64_f64(vmulq_f64(low, vld1q_f64(scale)));
    const int64x2_t b = vcvtaq_s64_f64(vmulq_f64(high, vld1q_f64(scale + 2)));
    return vcombine_s32(vmovn_s64(a), vmovn_s64(b));
  }
  // (sat16(shift(x, left, right)) * m + 2^14) >> 15, m < 2^15.
  static I32 rndnu16(I32 x, I32 m, I32 left, I32 right) {
    x = vrshlq_s32(vqshlq_s32(x, left), vnegq_s32(right));
    x = vmovl_s16(vqmovn_s32(x));
    return vshrq_n_s32(vmlaq_s32(splat(1 << 14), x, m), 15);
  }

  // --- Output -----------------------------------------------------------------------------------
  // Zero point, clamp and flip of one output, as vectors. Bounds are signed bytes.
  struct Output {
    int16x8_t zero_point;
    int8x16_t low, high;
    uint8x16_t flip;
    Output(int zero, int lo, int hi, uint8_t mask)
        : zero_point(vdupq_n_s16((int16_t)zero)),
          low(vdupq_n_s8((int8_t)lo)),
          high(vdupq_n_s8((int8_t)hi)),
          flip(vdupq_n_u8(mask)) {}
    // Saturates to 16 bits before the zero point, so that adding it cannot wrap.
    int8x8_t narrow(I32 a, I32 b) const {
      return vqmovn_s16(vqaddq_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)), zero_point));
    }
    uint8x16_t finish(int8x8_t a, int8x8_t b) const {
      const int8x16_t bytes = vminq_s8(vmaxq_s8(vcombine_s8(a, b), low), high);
      return veorq_u8(vreinterpretq_u8_s8(bytes), flip);
    }
  };
  static void store_bytes(uint8_t* to, uint8x16_t bytes, int count) {
    if (count >= 16) {
      vst1q_u8(to, bytes);
    } else {
      uint8_t part[16];
      vst1q_u8(part, bytes);
      std::memcpy(to, part, (size_t)count);
    }
  }
  // `count` channels of one output row from its vectors in channel order.
  template <int kPanels>
  static void store_row(const I32 (&x)[kPanels], const Output& output, uint8_t* to, int count) {
    constexpr int kLast = kPanels - 1;
    const int8x8_t low = output.narrow(x[0], x[kLast < 1 ? kLast : 1]);
    const int8x8_t high = kPanels > 2 ? output.narrow(x[kLast < 2 ? kLast : 2], x[kLast]) : low;
    store_bytes(to, output.finish(low, high), count);
  }
  // The same for the vectors of a depthwise block.
  static void store_block(const I32 (&x)[kVectors], const Output& output, uint8_t* to, int count) {
    store_row(x, output, to, count);
  }
};

}  // namespace edgefarm
