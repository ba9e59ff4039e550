// The AVX-512 and VNNI intrinsics that the core uses, lane by lane as Intel's Intrinsics Guide
// defines them. Found before the compiler's own <immintrin.h>, it lets the level's source run, and
// be compared, on processors without AVX-512.
#pragma once

#include <emmintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

struct __m256i {
  uint8_t bytes[32];
};
struct __m512i {
  uint8_t bytes[64];
};
struct __m512 {
  float lanes[16];
};
struct __m512d {
  double lanes[8];
};
using __mmask8 = uint8_t;
using __mmask16 = uint16_t;
using __mmask32 = uint32_t;
using __mmask64 = uint64_t;
enum { _CMP_LT_OQ = 17, _CMP_GE_OQ = 29 };

namespace by_definition {

template <class T, class V>
T get(const V& v, int lane) {
  T x;
  std::memcpy(&x, (const uint8_t*)&v + lane * (int)sizeof(T), sizeof(T));
  return x;
}
template <class T, class V, class F>
V each(F f) {
  V y;
  for (int i = 0; i < (int)(sizeof(V) / sizeof(T)); ++i) {
    const T x = (T)f(i);
    std::memcpy((uint8_t*)&y + i * (int)sizeof(T), &x, sizeof(T));
  }
  return y;
}
template <class T, class F>
__m512i zip(const __m512i& a, const __m512i& b, F f) {
  return each<T, __m512i>([&](int i) { return f(get<T>(a, i), get<T>(b, i)); });
}
template <class V>
V load(const void* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
T saturate(int64_t x) {
  const int64_t high = ((int64_t)1 << (8 * sizeof(T) - 1)) - 1;
  return (T)(x > high ? high : x < -high - 1 ? -high - 1 : x);
}
// What the conversions give for values outside int32.
inline int32_t to_int32(double x) {
  const double y = std::nearbyint(x);
  return y >= -2147483648.0 && y < 2147483648.0 ? (int32_t)y : INT32_MIN;
}

}  // namespace by_definition

#define EACH512(T, expression) by_definition::each<T, __m512i>([&](int i) { return (expression); })
#define LANE(T, v) by_definition::get<T>(v, i)
#define BIT(k) (((k) >> i) & 1)

// --- Memory, constants, casts
// -----------------------------------------------------------------------
inline __m512i _mm512_loadu_si512(const void* p) {
  return by_definition::load<__m512i>(p);
}
inline __m256i _mm256_loadu_si256(const __m256i* p) {
  return by_definition::load<__m256i>(p);
}
inline __m512 _mm512_loadu_ps(const float* p) {
  return by_definition::load<__m512>(p);
}
inline __m512d _mm512_loadu_pd(const double* p) {
  return by_definition::load<__m512d>(p);
}
inline void _mm512_storeu_si512(void* p, __m512i a) {
  std::memcpy(p, &a, sizeof a);
}
inline __m512i _mm512_maskz_loadu_epi8(__mmask64 k, const void* p) {
  return EACH512(uint8_t, BIT(k) ? ((const uint8_t*)p)[i] : 0);
}
inline void _mm512_mask_storeu_epi8(void* p, __mmask64 k, __m512i a) {
  for (int i = 0; i < 64; ++i) {
    if (BIT(k)) ((uint8_t*)p)[i] = a.bytes[i];
  }
}
inline void _mm256_mask_storeu_epi8(void* p, __mmask32 k, __m256i a) {
  for (int i = 0; i < 32; ++i) {
    if (BIT(k)) ((uint8_t*)p)[i] = a.bytes[i];
  }
}
inline __m512i _mm512_set1_epi8(char x) {
  return EACH512(int8_t, ((void)i, x));
}
inline __m256i _mm256_set1_epi8(char x) {
  return by_definition::each<int8_t, __m256i>([&](int) { return x; });
}
inline __m512i _mm512_set1_epi16(int16_t x) {
  return EACH512(int16_t, ((void)i, x));
}
inline __m512i _mm512_set1_epi32(int32_t x) {
  return EACH512(int32_t, ((void)i, x));
}
inline __m512i _mm512_set1_epi64(int64_t x) {
  return EACH512(int64_t, ((void)i, x));
}
inline __m512 _mm512_set1_ps(float x) {
  return by_definition::each<float, __m512>([&](int) { return x; });
}
inline __m512d _mm512_set1_pd(double x) {
  return by_definition::each<double, __m512d>([&](int) { return x; });
}
inline __m512i _mm512_setzero_si512() {
  return _mm512_set1_epi32(0);
}
inline __m512d _mm512_setzero_pd() {
  return _mm512_set1_pd(0);
}
template <class... X>
__m512i _mm512_setr_epi32(X... x) {
  const int32_t lanes[16] = {x...};
  return by_definition::load<__m512i>(lanes);
}
template <class... X>
__m512i _mm512_setr_epi64(X... x) {
  const int64_t lanes[8] = {x...};
  return by_definition::load<__m512i>(lanes);
}
inline __m256i _mm512_castsi512_si256(__m512i a) {
  return by_definition::load<__m256i>(&a);
}
inline __m512i _mm512_castsi256_si512(__m256i a) {
  return EACH512(uint8_t, i < 32 ? a.bytes[i] : 0xA5);  // the upper half is undefined
}
inline __m256i _mm512_extracti64x4_epi64(__m512i a, int half) {
  return by_definition::load<__m256i>(a.bytes + 32 * half);
}
inline __m512i _mm512_inserti64x4(__m512i a, __m256i b, int half) {
  std::memcpy(a.bytes + 32 * half, &b, sizeof b);
  return a;
}

// --- Integers
// ---------------------------------------------------------------------------------------
#define ZIP(name, T, expression)                                                       \
  inline __m512i name(__m512i a, __m512i b) {                                          \
    return by_definition::zip<T>(a, b, [](T x, T y) -> T { return (T)(expression); }); \
  }
ZIP(_mm512_and_si512, uint64_t, x& y)
ZIP(_mm512_xor_si512, uint64_t, x ^ y)
ZIP(_mm512_add_epi32, uint32_t, x + y)
ZIP(_mm512_sub_epi32, uint32_t, x - y)
ZIP(_mm512_add_epi64, uint64_t, x + y)
ZIP(_mm512_mullo_epi32, uint32_t, x* y)
ZIP(_mm512_mul_epi32, int64_t, (int64_t)(int32_t)x*(int32_t)y)
ZIP(_mm512_min_epi32, int32_t, x < y ? x : y)
ZIP(_mm512_max_epi32, int32_t, x > y ? x : y)
ZIP(_mm512_min_epi8, int8_t, x < y ? x : y)
ZIP(_mm512_max_epi8, int8_t, x > y ? x : y)
ZIP(_mm512_adds_epi16, int16_t, by_definition::saturate<int16_t>((int64_t)x + y))
ZIP(_mm512_sllv_epi32, uint32_t, y < 32 ? x << y : 0)
ZIP(_mm512_srlv_epi32, uint32_t, y < 32 ? x >> y : 0)
ZIP(_mm512_sllv_epi64, uint64_t, y < 64 ? x << y : 0)
ZIP(_mm512_srav_epi32, int32_t, x >> ((uint32_t)y < 32 ? y : 31))
ZIP(_mm512_srav_epi64, int64_t, x >> ((uint64_t)y < 64 ? y : 63))
#undef ZIP
inline __m256i _mm256_xor_si256(__m256i a, __m256i b) {
  return by_definition::each<uint8_t, __m256i>([&](int i) { return a.bytes[i] ^ b.bytes[i]; });
}
inline __m512i _mm512_srai_epi32(__m512i a, unsigned n) {
  return EACH512(int32_t, LANE(int32_t, a) >> (n < 32 ? n : 31));
}
inline __m512i _mm512_srli_epi32(__m512i a, unsigned n) {
  return EACH512(uint32_t, n < 32 ? LANE(uint32_t, a) >> n : 0);
}
inline __m512i _mm512_srli_epi64(__m512i a, unsigned n) {
  return EACH512(uint64_t, n < 64 ? LANE(uint64_t, a) >> n : 0);
}
inline __m512i _mm512_slli_epi64(__m512i a, unsigned n) {
  return EACH512(uint64_t, n < 64 ? LANE(uint64_t, a) << n : 0);
}
inline __mmask16 _mm512_cmpgt_epi32_mask(__m512i a, __m512i b) {
  unsigned k = 0;
  for (int i = 0; i < 16; ++i) k |= (unsigned)(LANE(int32_t, a) > LANE(int32_t, b)) << i;
  return (__mmask16)k;
}
inline __m512i _mm512_mask_blend_epi32(__mmask16 k, __m512i a, __m512i b) {
  return EACH512(int32_t, BIT(k) ? LANE(int32_t, b) : LANE(int32_t, a));
}
inline __m512i _mm512_mask_add_epi32(__m512i from, __mmask16 k, __m512i a, __m512i b) {
  return _mm512_mask_blend_epi32(k, from, _mm512_add_epi32(a, b));
}
inline __m512i _mm512_mask_min_epi32(__m512i from, __mmask16 k, __m512i a, __m512i b) {
  return _mm512_mask_blend_epi32(k, from, _mm512_min_epi32(a, b));
}
inline __m512i _mm512_mask_max_epi32(__m512i from, __mmask16 k, __m512i a, __m512i b) {
  return _mm512_mask_blend_epi32(k, from, _mm512_max_epi32(a, b));
}

// --- Dot products
// -----------------------------------------------------------------------------------
inline __m512i _mm512_dpbusd_epi32(__m512i acc, __m512i a, __m512i b) {
  return by_definition::each<uint32_t, __m512i>([&](int i) {
    uint32_t sum = LANE(uint32_t, acc);
    for (int j = 4 * i; j < 4 * i + 4; ++j) sum += (uint32_t)(a.bytes[j] * (int8_t)b.bytes[j]);
    return sum;
  });
}
inline __m512i _mm512_dpwssd_epi32(__m512i acc, __m512i a, __m512i b) {
  return by_definition::each<uint32_t, __m512i>([&](int i) {
    uint32_t sum = LANE(uint32_t, acc);
    for (int j = 2 * i; j < 2 * i + 2; ++j) {
      sum += (uint32_t)(by_definition::get<int16_t>(a, j) * by_definition::get<int16_t>(b, j));
    }
    return sum;
  });
}

// --- Within 128-bit lanes and across
// ------------------------------------------------------------------
inline __m512i _mm512_packs_epi32(__m512i a, __m512i b) {
  return by_definition::each<int16_t, __m512i>([&](int i) {
    const int lane = i / 8, place = i % 8;
    return by_definition::saturate<int16_t>(
        by_definition::get<int32_t>(place < 4 ? a : b, 4 * lane + place % 4));
  });
}
inline __m512i _mm512_packs_epi16(__m512i a, __m512i b) {
  return by_definition::each<int8_t, __m512i>([&](int i) {
    const int lane = i / 16, place = i % 16;
    return by_definition::saturate<int8_t>(
        by_definition::get<int16_t>(place < 8 ? a : b, 8 * lane + place % 8));
  });
}
inline __m512i interleave_epi16(__m512i a, __m512i b, int half) {
  return by_definition::each<int16_t, __m512i>([&](int i) {
    const int lane = i / 8, place = i % 8;
    return by_definition::get<int16_t>(place % 2 ? b : a, 8 * lane + 4 * half + place / 2);
  });
}
inline __m512i _mm512_unpacklo_epi16(__m512i a, __m512i b) {
  return interleave_epi16(a, b, 0);
}
inline __m512i _mm512_unpackhi_epi16(__m512i a, __m512i b) {
  return interleave_epi16(a, b, 1);
}
inline __m512i _mm512_permutexvar_epi32(__m512i index, __m512i a) {
  return EACH512(int32_t, by_definition::get<int32_t>(a, LANE(int32_t, index) & 15));
}
inline __m512i _mm512_permutexvar_epi64(__m512i index, __m512i a) {
  return EACH512(int64_t, by_definition::get<int64_t>(a, (int)LANE(int64_t, index) & 7));
}

// --- Conversions and floats
// -----------------------------------------------------------------------------
inline __m512i _mm512_cvtepi8_epi16(__m256i a) {
  return EACH512(int16_t, LANE(int8_t, a));
}
inline __m512i _mm512_cvtepi8_epi32(__m128i a) {
  return EACH512(int32_t, LANE(int8_t, a));
}
inline __m512 _mm512_cvtepi32_ps(__m512i a) {
  return by_definition::each<float, __m512>([&](int i) { return (float)LANE(int32_t, a); });
}
inline __m512d _mm512_cvtepi32_pd(__m256i a) {
  return by_definition::each<double, __m512d>([&](int i) { return (double)LANE(int32_t, a); });
}
inline __m512i _mm512_cvtps_epi32(__m512 a) {
  return EACH512(int32_t, by_definition::to_int32(a.lanes[i]));
}
inline __m256i _mm512_cvtpd_epi32(__m512d a) {
  return by_definition::each<int32_t, __m256i>(
      [&](int i) { return by_definition::to_int32(a.lanes[i]); });
}
#define FLOATS(name, V, expression)                                                      \
  inline V name(V a, V b) {                                                              \
    return by_definition::each<std::remove_extent_t<decltype(V::lanes)>, V>([&](int i) { \
      const auto x = a.lanes[i], y = b.lanes[i];                                         \
      return (expression);                                                               \
    });                                                                                  \
  }
FLOATS(_mm512_mul_ps, __m512, x* y)
FLOATS(_mm512_min_ps, __m512, x < y ? x : y)
FLOATS(_mm512_mul_pd, __m512d, x* y)
FLOATS(_mm512_add_pd, __m512d, x + y)
FLOATS(_mm512_sub_pd, __m512d, x - y)
#undef FLOATS
inline __m512d _mm512_abs_pd(__m512d a) {
  return by_definition::each<double, __m512d>([&](int i) { return std::fabs(a.lanes[i]); });
}
inline __m512d _mm512_floor_pd(__m512d a) {
  return by_definition::each<double, __m512d>([&](int i) { return std::floor(a.lanes[i]); });
}
inline __mmask8 _mm512_cmp_pd_mask(__m512d a, __m512d b, int predicate) {
  unsigned k = 0;
  for (int i = 0; i < 8; ++i) {
    const bool holds = predicate == _CMP_LT_OQ ? a.lanes[i] < b.lanes[i] : a.lanes[i] >= b.lanes[i];
    k |= (unsigned)holds << i;
  }
  return (__mmask8)k;
}
inline __m512d mask_blend_pd(__mmask8 k, __m512d a, __m512d b) {
  return by_definition::each<double, __m512d>(
      [&](int i) { return BIT(k) ? b.lanes[i] : a.lanes[i]; });
}
inline __m512d _mm512_mask_add_pd(__m512d from, __mmask8 k, __m512d a, __m512d b) {
  return mask_blend_pd(k, from, _mm512_add_pd(a, b));
}
inline __m512d _mm512_mask_sub_pd(__m512d from, __mmask8 k, __m512d a, __m512d b) {
  return mask_blend_pd(k, from, _mm512_sub_pd(a, b));
}

#undef EACH512
#undef LANE
#undef BIT
