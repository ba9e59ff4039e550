// AVX-512 with VNNI: sixteen int32 lanes; dot products of four by VPDPBUSD, which does not
// saturate.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace edgefarm {

struct Avx512 {
  static constexpr const char* kName = "avx512-vnni";
  static constexpr int kLanes = 16;
  static constexpr int kGroup = 4;
  static constexpr int kRows = 6;
  static constexpr int kPanels = 4;
  using Activation = uint8_t;  // VPDPBUSD multiplies unsigned by signed bytes
  static constexpr uint8_t kActivationFlip = 0x80;
  using I32 = __m512i;

  static I32 load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store(int32_t* p, I32 x) { _mm512_storeu_si512(p, x); }
  static I32 splat(int32_t x) { return _mm512_set1_epi32(x); }
  static I32 sub(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }
  static __mmask64 first(int count) {
    return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
  }

  static I32 add(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
  static I32 multiply(I32 a, I32 b) { return _mm512_mullo_epi32(a, b); }
  static I32 shift_right(I32 x, int n) { return _mm512_srai_epi32(x, (unsigned)n); }
  static I32 load_bytes(const uint8_t* p, uint8_t flip) {
    const __m128i bytes = _mm_loadu_si128((const __m128i*)p);
    return _mm512_cvtepi8_epi32(_mm_xor_si128(bytes, _mm_set1_epi8((char)flip)));
  }

  // --- Matrix product -------------------------------------------------------------------------
  static I32 load_weights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static I32 broadcast_group(const Activation* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
  }
  static I32 dot(I32 acc, I32 a, I32 b) { return _mm512_dpbusd_epi32(acc, a, b); }

  // Bytes to activations; neither reads nor writes past the end.
  static void widen(Activation* to, const uint8_t* from, int64_t count, uint8_t flip) {
    const I32 mask = _mm512_set1_epi8((char)flip);
    for (int64_t i = 0; i < count; i += 64) {
      const __mmask64 part = first((int)(count - i < 64 ? count - i : 64));
      const I32 x = _mm512_xor_si512(_mm512_maskz_loadu_epi8(part, from + i), mask);
      _mm512_mask_storeu_epi8(to + i, part, x);
    }
  }

  // --- Depthwise: 32 channels, taps in pairs -----------------------------------------------------
  static constexpr int kChannels = 32;
  static constexpr int kVectors = 2;
  // Unpacking within 128-bit lanes puts the first four channels of each eight in the first vector,
  // the rest in the second; packing undoes it.
  static constexpr int kOrder[32] = {0, 1, 2, 3, 8,  9,  10, 11, 16, 17, 18, 19, 24, 25, 26, 27,
                                     4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31};
  static void accumulate_taps(I32 (&acc)[kVectors], const uint8_t* tap0, const uint8_t* tap1,
                              const int16_t* weights, uint8_t flip) {
    const __m256i mask = _mm256_set1_epi8((char)flip);
    const I32 x0 =
        _mm512_cvtepi8_epi16(_mm256_xor_si256(_mm256_loadu_si256((const __m256i*)tap0), mask));
    const I32 x1 =
        _mm512_cvtepi8_epi16(_mm256_xor_si256(_mm256_loadu_si256((const __m256i*)tap1), mask));
    acc[0] =
        _mm512_dpwssd_epi32(acc[0], _mm512_unpacklo_epi16(x0, x1), _mm512_loadu_si512(weights));
    acc[1] = _mm512_dpwssd_epi32(acc[1], _mm512_unpackhi_epi16(x0, x1),
                                 _mm512_loadu_si512(weights + 32));
  }

  static void accumulate_taps(I32 (&acc)[kVectors], const int16_t* tap0, const int16_t* tap1,
                              const int16_t* weights, uint8_t) {
    const I32 x0 = _mm512_loadu_si512(tap0), x1 = _mm512_loadu_si512(tap1);
    acc[0] =
        _mm512_dpwssd_epi32(acc[0], _mm512_unpacklo_epi16(x0, x1), _mm512_loadu_si512(weights));
    acc[1] = _mm512_dpwssd_epi32(acc[1], _mm512_unpackhi_epi16(x0, x1),
                                 _mm512_loadu_si512(weights + 32));
  }

  // --- Requantization ---------------------------------------------------------------------------
  static constexpr __mmask16 kOdd = 0xAAAA;
  static I32 shift_left(I32 x, I32 n) { return _mm512_sllv_epi32(x, n); }

  // floor(x * m / 2^31 + 1/2), m >= 0.
  static I32 doubling_high(I32 x, I32 m) {
    const I32 half = _mm512_set1_epi64(int64_t{1} << 30);
    const I32 even = _mm512_add_epi64(_mm512_mul_epi32(x, m), half);
    const I32 odd = _mm512_add_epi64(
        _mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(m, 32)), half);
    return _mm512_mask_blend_epi32(kOdd, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
  }
  static I32 shift_ties_up(I32 x, I32 n) {
    // Bit n - 1 is the tie; for n = 0 the count is 2^32 - 1 and the logical shift gives 0.
    const I32 one = splat(1);
    const I32 tie = _mm512_and_si512(_mm512_srlv_epi32(x, sub(n, one)), one);
    return _mm512_add_epi32(_mm512_srav_epi32(x, n), tie);
  }
  static I32 shift_ties_away(I32 x, I32 n) {
    const I32 one = splat(1);
    const I32 mask = sub(_mm512_sllv_epi32(one, n), one);
    const I32 threshold = sub(_mm512_srli_epi32(mask, 1), _mm512_srai_epi32(x, 31));
    const __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(x, mask), threshold);
    const I32 down = _mm512_srav_epi32(x, n);
    return _mm512_mask_add_epi32(down, up, down, one);
  }
  // floor(x * m / 2^n + 1/2), n in 16..62; the result must fit in 32 bits.
  static I32 multiply_shift(I32 x, I32 m, I32 n) {
    const I32 even =
        shift_product(_mm512_mul_epi32(x, m), _mm512_and_si512(n, _mm512_set1_epi64(0xFFFFFFFF)));
    const I32 odd =
        shift_product(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(m, 32)),
                      _mm512_srli_epi64(n, 32));
    return _mm512_mask_blend_epi32(kOdd, even, _mm512_slli_epi64(odd, 32));
  }
  static I32 shift_product(I32 product, I32 n) {
    const I32 half = _mm512_srli_epi64(_mm512_sllv_epi64(_mm512_set1_epi64(1), n), 1);
    return _mm512_srav_epi64(_mm512_add_epi64(product, half), n);
  }
  // rint(float(x) * scale), at most cap. Far below the range it is INT32_MIN, as CVTPS2DQ has it.
  static I32 scale_single(I32 x, const float* scale, float cap) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(x), _mm512_loadu_ps(scale));
    return _mm512_cvtps_epi32(_mm512_min_ps(product, _mm512_set1_ps(cap)));
  }
  // round(double(x) * scale), ties away from zero; the result must fit in 32 bits.
  static I32 scale_double(I32 x, const double* scale) {
    const __m256i low = round_away(
        _mm512_mul_pd(_mm512_cvtepi32_pd(_mm512_castsi512_si256(x)), _mm512_loadu_pd(scale)));
    const __m256i high = round_away(_mm512_mul_pd(
        _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(x, 1)), _mm512_loadu_pd(scale + 8)));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  static __m256i round_away(__m512d x) {
    const __m512d magnitude = _mm512_abs_pd(x);
    const __m512d whole = _mm512_floor_pd(magnitude);
    const __mmask8 up =
        _mm512_cmp_pd_mask(_mm512_sub_pd(magnitude, whole), _mm512_set1_pd(0.5), _CMP_GE_OQ);
    const __m512d rounded = _mm512_mask_add_pd(whole, up, whole, _mm512_set1_pd(1.0));
    const __mmask8 negative = _mm512_cmp_pd_mask(x, _mm512_setzero_pd(), _CMP_LT_OQ);
    return _mm512_cvtpd_epi32(_mm512_mask_sub_pd(rounded, negative, _mm512_setzero_pd(), rounded));
  }
  // (sat16(shift(x, left, right)) * m + 2^14) >> 15, m < 2^15.
  static I32 rndnu16(I32 x, I32 m, I32 left, I32 right) {
    const I32 low = splat(-32768), high = splat(32767);
    // Only a value within 16 bits survives a left shift unsaturated, so clamp before as well.
    const __mmask16 left_only = _mm512_cmpgt_epi32_mask(left, _mm512_setzero_si512());
    x = _mm512_mask_min_epi32(x, left_only, x, high);
    x = _mm512_mask_max_epi32(x, left_only, x, low);
    x = shift_ties_up(_mm512_sllv_epi32(x, left), right);
    x = _mm512_min_epi32(_mm512_max_epi32(x, low), high);
    return _mm512_srai_epi32(_mm512_add_epi32(_mm512_mullo_epi32(x, m), splat(1 << 14)), 15);
  }

  // --- Output -----------------------------------------------------------------------------------
  // Zero point, clamp and flip of one output, as vectors. Bounds are signed bytes.
  struct Output {
    I32 zero_point, low, high, flip;
    Output(int zero, int lo, int hi, uint8_t mask)
        : zero_point(_mm512_set1_epi16((int16_t)zero)),
          low(_mm512_set1_epi8((char)lo)),
          high(_mm512_set1_epi8((char)hi)),
          flip(_mm512_set1_epi8((char)mask)) {}
    // Saturates to 16 bits before the zero point, so that adding it cannot wrap.
    I32 words(I32 a, I32 b) const {
      return _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point);
    }
    I32 bytes(I32 a, I32 b) const {
      const I32 y = _mm512_packs_epi16(a, b);
      return _mm512_xor_si512(_mm512_min_epi8(_mm512_max_epi8(y, low), high), flip);
    }
  };
  // `count` channels of one output row from its vectors in channel order.
  template <int kPanels>
  static void store_row(const I32 (&x)[kPanels], const Output& output, uint8_t* to, int count) {
    constexpr int kLast = kPanels - 1;
    const I32 low = output.words(x[0], x[kLast < 1 ? kLast : 1]);
    const I32 high = kPanels > 2 ? output.words(x[kLast < 2 ? kLast : 2], x[kLast]) : low;
    // Packing leaves four channels of each vector in each 128-bit lane.
    const I32 order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const I32 bytes = _mm512_permutexvar_epi32(order, output.bytes(low, high));
    _mm512_mask_storeu_epi8(to, first(count), bytes);
  }
  // The same for the two vectors of a depthwise block.
  static void store_block(const I32 (&x)[kVectors], const Output& output, uint8_t* to, int count) {
    const I32 words = output.words(x[0], x[1]);
    // Each 128-bit lane holds eight channels twice; take the first copies.
    const I32 order = _mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6);
    const I32 bytes = _mm512_permutexvar_epi64(order, output.bytes(words, words));
    _mm256_mask_storeu_epi8(to, (__mmask32)first(count), _mm512_castsi512_si256(bytes));
  }
};

}  // namespace edgefarm
