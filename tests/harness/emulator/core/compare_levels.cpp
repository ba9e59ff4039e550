// Every level that runs here against the portable one, on random layers. For machines without
// Python: built with a cross compiler it runs under an emulator of the processor.
//
//     compare_levels [trials]
//
// Prints one line per level; the exit status is 1 when any byte differs.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "hybrid.h"
#include "pack.h"
#include "products.h"
#include "run.h"
#include "wide.h"

using namespace edgefarm;

#ifdef SIMULATED_LEVEL
// A level whose instructions this processor lacks, compiled for stand-ins.
namespace edgefarm {
extern const Level SIMULATED_LEVEL;
}
#endif

namespace {

// Null where the level does not run here.
const Level* level_named(const char* name) {
#ifdef SIMULATED_LEVEL
  if (std::strcmp(name, SIMULATED_LEVEL.name) == 0) return &SIMULATED_LEVEL;
#endif
  return find_level(name);
}

std::mt19937 generator;

int between(int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(generator);
}

template <class T>
T one_of(std::initializer_list<T> values) {
  return values.begin()[between(0, (int)values.size() - 1)];
}

std::vector<uint8_t> random_bytes(int64_t size) {
  std::vector<uint8_t> bytes((size_t)size);
  for (uint8_t& byte : bytes) byte = (uint8_t)between(0, 255);
  return bytes;
}

// The real multiplier in the form of one rounding, as harness/arithmetic/requantize.py encodes it.
void add_channel(Parameters& p, double real) {
  if (p.number == 4 || p.number == 5) {
    p.scale.push_back(p.number == 5 ? (double)(float)real : real);
    return;
  }
  int exponent;
  const double mantissa = std::frexp(real, &exponent);
  if (p.number == 6) {
    p.multiplier.push_back((int64_t)(mantissa * (1 << 24)));
    p.shift.push_back(24 - exponent);
  } else if (p.number == 7) {
    p.multiplier.push_back((int64_t)(mantissa * (1 << 15)));
    p.shift.push_back(exponent);
  } else {
    p.multiplier.push_back((int64_t)(mantissa * 2147483648.0));
    p.shift.push_back(exponent);
  }
}

struct Case {
  Window window;
  int groups;
  bool depthwise;
  Weights weights;
  Boundary boundary;
  Parameters parameters;
  std::vector<uint8_t> weight_bytes, input;
  std::vector<int32_t> bias;
  int64_t batch;
};

Window random_window(bool depthwise, int groups) {
  Window w;
  w.in_c = groups * one_of({1, 3, 5, 8, 15, 16, 17, 33, 64, 96});
  w.out_c = depthwise ? w.in_c : groups * one_of({1, 3, 8, 15, 16, 17, 33, 50, 64, 130});
  w.kernel_h = one_of({1, 1, 2, 3, 5});
  w.kernel_w = one_of({1, 1, 2, 3, 5});
  w.stride_h = between(1, 2), w.stride_w = between(1, 2);
  w.dilation_h = between(1, 2), w.dilation_w = between(1, 2);
  w.pad_top = between(0, w.kernel_h - 1), w.pad_left = between(0, w.kernel_w - 1);
  w.in_h = between(1, 12), w.in_w = between(1, 20);
  w.out_h = between(1, 7), w.out_w = between(1, 20);
  return w;
}

Case random_case() {
  Case c;
  c.depthwise = between(0, 2) == 0;
  c.groups = c.depthwise ? 1 : one_of({1, 1, 1, 2, 3});
  c.window = random_window(c.depthwise, c.groups);
  const Window& w = c.window;
  c.batch = between(1, 3);
  const bool is_unsigned = between(0, 1);
  const int low = is_unsigned ? 0 : -128;
  const int64_t depth = (int64_t)w.kernel_h * w.kernel_w * (c.depthwise ? 1 : w.in_c / c.groups);
  c.weight_bytes = random_bytes(depth * w.out_c);
  c.input = random_bytes(c.batch * w.in_size());
  c.weights = {c.weight_bytes.data(), is_unsigned, is_unsigned ? between(0, 255) : 0};
  c.boundary = {is_unsigned, between(low, low + 255), between(0, 1) == 1};
  const int out_low = c.boundary.output_unsigned ? 0 : -128;
  Parameters& p = c.parameters;
  p.number = between(1, 7);
  p.zero_point = between(out_low, out_low + 255);
  p.low = out_low + one_of({0, 0, 20});
  p.high = out_low + one_of({255, 255, 200});
  const bool dyadic = between(0, 2) == 0;
  for (int channel = 0; channel < w.out_c; ++channel) {
    c.bias.push_back(between(-3000, 3000) * between(1, 10));
    const double spread = std::ldexp(0.5 + between(0, 1 << 20) / 2097152.0, -between(4, 9));
    add_channel(p, dyadic ? std::ldexp(1.0, -between(5, 12)) : spread / std::sqrt((double)depth));
  }
  return c;
}

std::vector<uint8_t> run_on(const Level& level, const Case& c, int threads) {
  std::vector<uint8_t> out((size_t)(c.batch * c.window.out_size()));
  if (c.depthwise) {
    const int middle = c.window.in_c / 2;
    for (int first : {0, middle}) {
      const int last = first == 0 && middle > 0 ? middle : c.window.in_c;
      if (first > 0 || middle == 0 || last == middle) {
        run(level,
            pack_depthwise(level, c.window, first, last, c.weights, c.bias.data(), c.boundary,
                           c.parameters),
            c.input.data(), out.data(), c.batch, threads);
      }
    }
  } else {
    run(level,
        pack_convolution(level, c.window, c.groups, c.weights, c.bias.data(), c.boundary,
                         c.parameters),
        c.input.data(), out.data(), c.batch, threads);
  }
  return out;
}

// An addition of random arrays: bytes and, of them, those that differ.
void compare_addition(const Level& level, const Level& portable, int64_t& bytes,
                      int64_t& differing) {
  const bool is_unsigned = between(0, 1);
  const int low = is_unsigned ? 0 : -128, shift = between(12, 22);
  const auto zero = [&] { return between(low, low + 255); };
  const Terms terms{
      between(1, 1 << 21),    between(-(1 << 21), 1 << 21), shift, zero(), zero(), zero(), low,
      low + between(100, 255)};
  const Addition layer = pack_addition(terms, is_unsigned, is_unsigned);
  const auto a = random_bytes(between(1, 300)), b = random_bytes((int64_t)a.size());
  std::vector<uint8_t> expected(a.size()), got(a.size());
  run(portable, layer, a.data(), b.data(), expected.data(), (int64_t)a.size(), 1);
  run(level, layer, a.data(), b.data(), got.data(), (int64_t)a.size(), 1);
  for (size_t i = 0; i < got.size(); ++i) differing += got[i] != expected[i];
  bytes += (int64_t)got.size();
}

// The layer of a case as a hybrid one, on rows on ties and others: floats and, of them, those that
// differ.
void compare_hybrid(const Level& level, const Level& portable, const Case& c, int threads,
                    int64_t& bytes, int64_t& differing) {
  const Window& w = c.window;
  const Weights weights{c.weight_bytes.data(), false, 0};
  ScalingTerms terms{between(0, 5), {}, {}, -20.0f, 30.0f};
  for (int channel = 0; channel < w.out_c; ++channel) {
    terms.scale.push_back((float)between(1, 1 << 20) / 67108864.0f);
    terms.bias.push_back((float)between(-1000, 1000) / 64.0f);
  }
  std::vector<float> x((size_t)(c.batch * w.in_size()));
  const bool ties = between(0, 1) == 1;
  for (float& value : x) {
    value = ties ? ((float)between(-128, 127) + 0.5f) / 16.0f : (float)between(-9999, 9999) / 777.0f;
  }
  const int rows = between(0, 5);
  const auto run_as = [&](const Level& on, int workers) {
    std::vector<float> y((size_t)(c.batch * w.out_size()));
    if (c.depthwise) {
      run(on, pack_hybrid_depthwise(on, w, weights, w.in_size(), rows, terms), x.data(), y.data(),
          c.batch, workers);
    } else {
      run(on, pack_hybrid_convolution(on, w, c.groups, weights, w.in_size(), rows, terms),
          x.data(), y.data(), c.batch, workers);
    }
    return y;
  };
  const auto expected = run_as(portable, 1), got = run_as(level, threads);
  for (size_t i = 0; i < got.size(); ++i) {
    differing += std::memcmp(&got[i], &expected[i], sizeof(float)) != 0;
  }
  bytes += (int64_t)(got.size() * sizeof(float));
}

// The layer of a case on int16.
void compare_wide(const Level& level, const Level& portable, const Case& c, int threads,
                  int64_t& bytes, int64_t& differing) {
  const Window& w = c.window;
  const Weights weights{c.weight_bytes.data(), false, 0};
  std::vector<int64_t> bias;
  Parameters p;
  p.number = one_of({4, 8});
  p.zero_point = 0, p.low = -32768, p.high = 32767;
  for (int channel = 0; channel < w.out_c; ++channel) {
    bias.push_back((int64_t)between(-(1 << 30), 1 << 30) << between(0, 8));
    if (p.number == 4) p.scale.push_back(between(1, 1 << 20) / 2147483648.0);
    p.multiplier.push_back(between(1 << 30, 2147483647));
    p.shift.push_back(between(-16, -6));
  }
  std::vector<int16_t> x((size_t)(c.batch * w.in_size()));
  for (int16_t& value : x) value = (int16_t)between(-32768, 32767);
  const auto run_as = [&](const Level& on, int workers) {
    std::vector<int16_t> y((size_t)(c.batch * w.out_size()));
    if (c.depthwise) {
      run(on, pack_wide_depthwise(on, w, weights, bias.data(), p), x.data(), y.data(), c.batch,
          workers);
    } else {
      run(on, pack_wide_convolution(on, w, c.groups, weights, bias.data(), p), x.data(), y.data(),
          c.batch, workers);
    }
    return y;
  };
  const auto expected = run_as(portable, 1), got = run_as(level, threads);
  for (size_t i = 0; i < got.size(); ++i) differing += got[i] != expected[i];
  bytes += (int64_t)(got.size() * sizeof(int16_t));
}

// Products of two computed matrices.
void compare_product(const Level& level, const Level& portable, int64_t& bytes,
                     int64_t& differing) {
  const std::vector<int> sizes{between(1, 9), between(1, 70), between(1, 150)};
  Parameters p;
  p.number = between(1, 7);
  p.zero_point = between(-128, 127), p.low = -128, p.high = 127;
  add_channel(p, std::ldexp(0.5 + between(0, 1 << 20) / 2097152.0, -between(6, 12)));
  const std::vector<int32_t> zeros{between(-128, 127), between(-128, 127)};
  const std::vector<bool> flags{between(0, 1) == 1, between(0, 1) == 1, false, false, false};
  const auto a = random_bytes(2 * sizes[0] * sizes[1]), b = random_bytes(2 * sizes[1] * sizes[2]);
  std::vector<uint8_t> expected((size_t)(2 * sizes[0] * sizes[2])), got(expected.size());
  for (const Level* on : {&portable, &level}) {
    run(*on, pack_product(*on, sizes, zeros, flags, p), a.data(), b.data(),
        (on == &level ? got : expected).data(), 2, 1);
  }
  for (size_t i = 0; i < got.size(); ++i) differing += got[i] != expected[i];
  bytes += (int64_t)got.size();
}

// Tables of every size that leaves a tail, and of none.
bool tables_agree() {
  const std::vector<uint8_t> table = random_bytes(256);
  for (int64_t size = 0; size < 300; ++size) {
    const std::vector<uint8_t> x = random_bytes(size);
    std::vector<uint8_t> y((size_t)size + 1, 0xAB);
    look_up_here(table.data(), x.data(), y.data(), size);
    for (int64_t i = 0; i < size; ++i) {
      if (y[(size_t)i] != table[x[(size_t)i]]) return false;
    }
    if (y[(size_t)size] != 0xAB) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int trials = argc > 1 ? std::atoi(argv[1]) : 300;
  const Level& portable = *find_level("portable");
  bool equal = true;
  for (const char* name : {"avx2", "avx512-vnni", "neon-dotprod"}) {
    const Level* level = level_named(name);
    if (!level) {
      std::printf("%s: does not run here\n", name);
      continue;
    }
    int64_t bytes = 0, differing = 0;
    generator.seed(1);
    for (int trial = 0; trial < trials; ++trial) {
      const Case c = random_case();
      const auto expected = run_on(portable, c, 1), got = run_on(*level, c, 1 + trial % 2);
      for (size_t i = 0; i < got.size(); ++i) differing += got[i] != expected[i];
      bytes += (int64_t)got.size();
      compare_addition(*level, portable, bytes, differing);
      compare_hybrid(*level, portable, c, 1 + trial % 2, bytes, differing);
      compare_wide(*level, portable, c, 1 + trial % 2, bytes, differing);
      compare_product(*level, portable, bytes, differing);
    }
    std::printf("%s: %d layers, %lld bytes, %lld differing\n", name, trials, (long long)bytes,
                (long long)differing);
    equal = equal && differing == 0;
  }
  if (!tables_agree()) {
    std::printf("a table is not looked up as it should\n");
    return 1;
  }
  return equal ? 0 : 1;
}
