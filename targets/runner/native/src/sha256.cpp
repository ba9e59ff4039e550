#include "sha256.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "files.h"
#include "job.h"

namespace edgefarm {
namespace {

constexpr std::array<uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr size_t kBlock = 64;

uint32_t rotate(uint32_t x, int n) {
  return (x >> n) | (x << (32 - n));
}

struct Digest {
  std::array<uint32_t, 8> h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

  void add_block(const uint8_t* data) {
    std::array<uint32_t, 64> w;
    for (size_t i = 0; i < 16; ++i) {
      w[i] = uint32_t(data[4 * i]) << 24 | uint32_t(data[4 * i + 1]) << 16 |
             uint32_t(data[4 * i + 2]) << 8 | uint32_t(data[4 * i + 3]);
    }
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    std::array<uint32_t, 8> v = h;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
      const uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
      const uint32_t t1 = v[7] + s1 + choice + kRound[i] + w[i];
      const uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
      const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      v = {t1 + s0 + majority, v[0], v[1], v[2], v[3] + t1, v[4], v[5], v[6]};
    }
    for (size_t i = 0; i < 8; ++i) h[i] += v[i];
  }

  // Adds the last, partial block with the padding: a one bit, zeros, the length in bits.
  void finish(const uint8_t* rest, size_t size, uint64_t total_bytes) {
    std::array<uint8_t, 2 * kBlock> tail = {};
    if (size > 0) std::memcpy(tail.data(), rest, size);
    tail[size] = 0x80;
    const size_t end = size + 9 <= kBlock ? kBlock : 2 * kBlock;
    for (size_t i = 0; i < 8; ++i) tail[end - 1 - i] = uint8_t(total_bytes * 8 >> (8 * i));
    for (size_t at = 0; at < end; at += kBlock) add_block(tail.data() + at);
  }
};

}  // namespace

std::string sha256_file(const std::string& path) {
  const File file = open_file(path, "rb");
  if (!file) throw JobError("artifact", path + ": " + std::strerror(errno));
  Digest digest;
  std::vector<uint8_t> chunk(1 << 20);  // a multiple of the block: only the last chunk has a rest
  uint64_t total = 0;
  size_t size = chunk.size();
  while (size == chunk.size()) {
    size = std::fread(chunk.data(), 1, chunk.size(), file.get());
    total += size;
    size_t at = 0;
    for (; at + kBlock <= size; at += kBlock) digest.add_block(chunk.data() + at);
    if (size < chunk.size()) digest.finish(chunk.data() + at, size - at, total);
  }
  if (std::ferror(file.get())) throw JobError("artifact", path + ": " + std::strerror(errno));
  char hex[65];
  for (size_t i = 0; i < 8; ++i) std::snprintf(hex + 8 * i, 9, "%08x", digest.h[i]);
  return hex;
}

}  // namespace edgefarm
