// Tables of bytes, by whatever instruction this processor has for them.
#include "run.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace edgefarm {
namespace {

#if defined(__x86_64__)
// Two permutations of 128 entries each, 64 bytes at a time; gives how many are done.
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) int64_t by_permuting(const uint8_t* table,
                                                                           const uint8_t* x,
                                                                           uint8_t* out,
                                                                           int64_t size) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  int64_t i = 0;
  for (; i + 64 <= size; i += 64) {
    const __m512i at = _mm512_loadu_si512(x + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, at, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, at, t3);
    _mm512_storeu_si512(out + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
  }
  return i;
}
bool can_permute() {
  static const bool can = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
  return can;
}
#elif defined(__aarch64__)
// Four look-ups of 64 entries each, 16 bytes at a time; an index outside gives what was there.
int64_t by_permuting(const uint8_t* table, const uint8_t* x, uint8_t* out, int64_t size) {
  uint8x16x4_t parts[4];
  for (int p = 0; p < 4; ++p) parts[p] = vld1q_u8_x4(table + 64 * p);
  int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    uint8x16_t at = vld1q_u8(x + i), y = vqtbl4q_u8(parts[0], at);
    for (int p = 1; p < 4; ++p) {
      at = vsubq_u8(at, vdupq_n_u8(64));
      y = vqtbx4q_u8(y, parts[p], at);
    }
    vst1q_u8(out + i, y);
  }
  return i;
}
bool can_permute() {
  return true;
}
#else
int64_t by_permuting(const uint8_t*, const uint8_t*, uint8_t*, int64_t) {
  return 0;
}
bool can_permute() {
  return false;
}
#endif

}  // namespace

void look_up_here(const uint8_t* table, const uint8_t* x, uint8_t* out, int64_t size) {
  int64_t i = can_permute() ? by_permuting(table, x, out, size) : 0;
  for (; i < size; ++i) out[i] = table[x[i]];
}

}  // namespace edgefarm
