// AVX2: eight int32 lanes; dot products of two by VPMADDWD on sign-extended bytes.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace edgefarm {

struct Avx2 {
  static constexpr const char* kName = "avx2";
  static constexpr int kLanes = 8;
  static constexpr int kGroup = 2;
  static constexpr int kRows = 6;
  static constexpr int kPanels = 2;
  using Activation = int16_t;
  static constexpr uint8_t kActivationFlip = 0;  // activations are signed here
  using I32 = __m256i;

  static I32 load(const int32_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
  static void store(int32_t* p, I32 x) { _mm256_storeu_si256((__m256i*)p, x); }
  static I32 splat(int32_t x) { return _mm256_set1_epi32(x); }
  static I32 sub(I32 a, I32 b) { return _mm256_sub_epi32(a, b); }

  static I32 add(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
  static I32 multiply(I32 a, I32 b) { return _mm256_mullo_epi32(a, b); }
  static I32 shift_right(I32 x, int n) { return _mm256_srai_epi32(x, n); }
  static I32 load_bytes(const uint8_t* p, uint8_t flip) {
    const __m128i bytes = _mm_loadl_epi64((const __m128i*)p);
    return _mm256_cvtepi8_epi32(_mm_xor_si128(bytes, _mm_set1_epi8((char)flip)));
  }

  // --- Matrix product -------------------------------------------------------------------------
  static I32 load_weights(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p));
  }
  static I32 broadcast_group(const Activation* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
  }
  static I32 dot(I32 acc, I32 a, I32 b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }

  // Bytes to activations; neither reads nor writes past the end.
  static void widen(Activation* to, const uint8_t* from, int64_t count, uint8_t flip) {
    const __m128i mask = _mm_set1_epi8((char)flip);
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
      __m128i x = _mm_xor_si128(_mm_loadu_si128((const __m128i*)(from + i)), mask);
      _mm256_storeu_si256((__m256i*)(to + i), _mm256_cvtepi8_epi16(x));
    }
    const int64_t left = count - i;
    if (left >= 8) {
      widen_eight(to + i, from + i, mask);
      widen_eight(to + count - 8, from + count - 8, mask);
    } else {
      for (; i < count; ++i) to[i] = (int8_t)(from[i] ^ flip);
    }
  }

  static void widen_eight(Activation* to, const uint8_t* from, __m128i mask) {
    const __m128i x = _mm_xor_si128(_mm_loadl_epi64((const __m128i*)from), mask);
    _mm_storeu_si128((__m128i*)to, _mm_cvtepi8_epi16(x));
  }

  // --- Depthwise: 16 channels, taps in pairs -----------------------------------------------------
  static constexpr int kChannels = 16;
  static constexpr int kVectors = 2;
  // Unpacking within 128-bit lanes puts channels 0-3, 8-11 in the first vector, the rest in the
  // second; narrow() undoes it.
  static constexpr int kOrder[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
  static void accumulate_taps(I32 (&acc)[kVectors], const uint8_t* tap0, const uint8_t* tap1,
                              const int16_t* weights, uint8_t flip) {
    const __m128i mask = _mm_set1_epi8((char)flip);
    const I32 x0 = _mm256_cvtepi8_epi16(_mm_xor_si128(_mm_loadu_si128((const __m128i*)tap0), mask));
    const I32 x1 = _mm256_cvtepi8_epi16(_mm_xor_si128(_mm_loadu_si128((const __m128i*)tap1), mask));
    const I32 w0 = _mm256_loadu_si256((const __m256i*)weights);
    const I32 w1 = _mm256_loadu_si256((const __m256i*)(weights + 16));
    acc[0] = dot(acc[0], _mm256_unpacklo_epi16(x0, x1), w0);
    acc[1] = dot(acc[1], _mm256_unpackhi_epi16(x0, x1), w1);
  }

  static void accumulate_taps(I32 (&acc)[kVectors], const int16_t* tap0, const int16_t* tap1,
                              const int16_t* weights, uint8_t) {
    const I32 x0 = _mm256_loadu_si256((const __m256i*)tap0);
    const I32 x1 = _mm256_loadu_si256((const __m256i*)tap1);
    const I32 w0 = _mm256_loadu_si256((const __m256i*)weights);
    const I32 w1 = _mm256_loadu_si256((const __m256i*)(weights + 16));
    acc[0] = dot(acc[0], _mm256_unpacklo_epi16(x0, x1), w0);
    acc[1] = dot(acc[1], _mm256_unpackhi_epi16(x0, x1), w1);
  }

  // --- Requantization ---------------------------------------------------------------------------
  static I32 shift_left(I32 x, I32 n) { return _mm256_sllv_epi32(x, n); }

  // floor(x * m / 2^31 + 1/2), m >= 0.
  static I32 doubling_high(I32 x, I32 m) {
    const __m256i half = _mm256_set1_epi64x(int64_t{1} << 30);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, m), half);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(m, 32)), half);
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
  }
  static I32 shift_ties_up(I32 x, I32 n) {
    // Bit n - 1 is the tie; for n = 0 the count is 2^32 - 1 and the logical shift gives 0.
    const I32 one = splat(1);
    const I32 tie = _mm256_and_si256(_mm256_srlv_epi32(x, sub(n, one)), one);
    return _mm256_add_epi32(_mm256_srav_epi32(x, n), tie);
  }
  static I32 shift_ties_away(I32 x, I32 n) {
    const I32 one = splat(1);
    const I32 mask = sub(_mm256_sllv_epi32(one, n), one);
    const I32 threshold = sub(_mm256_srli_epi32(mask, 1), _mm256_srai_epi32(x, 31));
    const I32 up = _mm256_cmpgt_epi32(_mm256_and_si256(x, mask), threshold);
    return sub(_mm256_srav_epi32(x, n), up);
  }
  // floor(x * m / 2^n + 1/2), n in 16..62; the result must fit in 32 bits. No arithmetic shift of
  // 64 bits exists: add 2^63, shift logically, take 2^(63 - n) off again.
  static I32 multiply_shift(I32 x, I32 m, I32 n) {
    const __m256i low = _mm256_set1_epi64x(0xFFFFFFFF);
    const __m256i even = shift_product(_mm256_mul_epi32(x, m), _mm256_and_si256(n, low));
    const __m256i odd =
        shift_product(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(m, 32)),
                      _mm256_srli_epi64(n, 32));
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  }
  static __m256i shift_product(__m256i product, __m256i n) {
    const __m256i bias = _mm256_set1_epi64x(INT64_MIN);
    const __m256i half =
        _mm256_srlv_epi64(_mm256_sllv_epi64(_mm256_set1_epi64x(1), n), _mm256_set1_epi64x(1));
    const __m256i sum = _mm256_add_epi64(_mm256_add_epi64(product, half), bias);
    return _mm256_sub_epi64(_mm256_srlv_epi64(sum, n), _mm256_srlv_epi64(bias, n));
  }
  // rint(float(x) * scale), at most cap. Far below the range it is INT32_MIN, as CVTPS2DQ has it.
  static I32 scale_single(I32 x, const float* scale, float cap) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(x), _mm256_loadu_ps(scale));
    return _mm256_cvtps_epi32(_mm256_min_ps(product, _mm256_set1_ps(cap)));
  }
  // round(double(x) * scale), ties away from zero; the result must fit in 32 bits.
  static I32 scale_double(I32 x, const double* scale) {
    const __m128i low = round_away(
        _mm256_mul_pd(_mm256_cvtepi32_pd(_mm256_castsi256_si128(x)), _mm256_loadu_pd(scale)));
    const __m128i high = round_away(_mm256_mul_pd(
        _mm256_cvtepi32_pd(_mm256_extracti128_si256(x, 1)), _mm256_loadu_pd(scale + 4)));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  }
  static __m128i round_away(__m256d x) {
    const __m256d sign = _mm256_and_pd(x, _mm256_set1_pd(-0.0));
    const __m256d magnitude = _mm256_xor_pd(x, sign);
    const __m256d whole = _mm256_floor_pd(magnitude);
    const __m256d up =
        _mm256_cmp_pd(_mm256_sub_pd(magnitude, whole), _mm256_set1_pd(0.5), _CMP_GE_OQ);
    const __m256d rounded = _mm256_add_pd(whole, _mm256_and_pd(up, _mm256_set1_pd(1.0)));
    return _mm256_cvtpd_epi32(_mm256_or_pd(rounded, sign));
  }
  // (sat16(shift(x, left, right)) * m + 2^14) >> 15, m < 2^15.
  static I32 rndnu16(I32 x, I32 m, I32 left, I32 right) {
    const I32 low = splat(-32768), high = splat(32767);
    // Only a value within 16 bits survives a left shift unsaturated, so clamp before as well.
    const I32 left_only = _mm256_cmpgt_epi32(left, _mm256_setzero_si256());
    const I32 clamped = _mm256_min_epi32(_mm256_max_epi32(x, low), high);
    x = _mm256_blendv_epi8(x, clamped, left_only);
    x = shift_ties_up(_mm256_sllv_epi32(x, left), right);
    x = _mm256_min_epi32(_mm256_max_epi32(x, low), high);
    return _mm256_srai_epi32(_mm256_add_epi32(_mm256_mullo_epi32(x, m), splat(1 << 14)), 15);
  }

  // --- Output -----------------------------------------------------------------------------------
  // Zero point, clamp and flip of one output, as vectors. Bounds are signed bytes.
  struct Output {
    __m128i low, high, flip;
    __m256i zero_point;
    Output(int zero, int lo, int hi, uint8_t mask)
        : low(_mm_set1_epi8((char)lo)),
          high(_mm_set1_epi8((char)hi)),
          flip(_mm_set1_epi8((char)mask)),
          zero_point(_mm256_set1_epi16((int16_t)zero)) {}
    __m128i finish(__m256i words) const {
      const __m256i moved = _mm256_adds_epi16(words, zero_point);
      const __m128i bytes =
          _mm_packs_epi16(_mm256_castsi256_si128(moved), _mm256_extracti128_si256(moved, 1));
      return _mm_xor_si128(_mm_min_epi8(_mm_max_epi8(bytes, low), high), flip);
    }
  };
  static void store_bytes(uint8_t* to, __m128i bytes, int count) {
    if (count >= 16) {
      _mm_storeu_si128((__m128i*)to, bytes);
    } else if (count == 8) {
      _mm_storel_epi64((__m128i*)to, bytes);
    } else {
      alignas(16) uint8_t part[16];
      _mm_store_si128((__m128i*)part, bytes);
      std::memcpy(to, part, (size_t)count);
    }
  }
  // `count` channels of one output row from one or two vectors in channel order.
  template <int kPanels>
  static void store_row(const I32 (&x)[kPanels], const Output& output, uint8_t* to, int count) {
    const __m128i bytes = output.finish(_mm256_packs_epi32(x[0], x[kPanels - 1]));
    store_bytes(to, _mm_shuffle_epi32(bytes, 0xD8), count);
  }
  // The same for the two vectors of a depthwise block.
  static void store_block(const I32 (&x)[kVectors], const Output& output, uint8_t* to, int count) {
    store_bytes(to, output.finish(_mm256_packs_epi32(x[0], x[1])), count);
  }
};

}  // namespace edgefarm
