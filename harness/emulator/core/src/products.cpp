#include "products.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "slices.h"

namespace edgefarm {
namespace {

constexpr int kAtOnce = 64;  // columns that are requantized together: any level's vectors

// Bytes less their zero point, (outer, inner); turned ones are stored (inner, outer).
void widen(const uint8_t* from, bool is_unsigned, int32_t zero, int outer, int inner, bool turned,
           int stride, int32_t* to) {
  for (int o = 0; o < outer; ++o) {
    for (int i = 0; i < inner; ++i) {
      const uint8_t byte = turned ? from[(int64_t)i * outer + o] : from[(int64_t)o * inner + i];
      to[(int64_t)o * stride + i] = (is_unsigned ? (int32_t)byte : (int32_t)(int8_t)byte) - zero;
    }
  }
}

template <class In, class Out>
void softmax_row(const TableSoftmax& s, const In* x, Out* out, std::vector<float>& exps) {
  int most = x[0];
  for (int i = 1; i < s.depth; ++i) most = x[i] > most ? x[i] : most;
  float total = 0;
  for (int i = 0; i < s.depth; ++i) {
    exps[(size_t)i] = s.table[(size_t)(most - x[i])];
    total = total + exps[(size_t)i];  // one after the other
  }
  const float inverse = 1.0f / (total * s.output_scale);
  const int low = std::is_signed<Out>::value ? -128 : 0, high = low + 255;
  for (int i = 0; i < s.depth; ++i) {
    const float found = exps[(size_t)i] * inverse;
    const float quotient = found < 65536.0f ? found : 65536.0f;  // beyond any output
    const int whole = (int)quotient;
    const int y = s.half_added ? (int)(quotient + 0.5f)
                               : whole + (quotient - (float)whole >= 0.5f) + s.output_zero;
    out[i] = (Out)(y < low ? low : y > high ? high : y);
  }
}

template <class In, class Out>
void softmax_rows(const TableSoftmax& s, const uint8_t* x, uint8_t* out, int64_t first,
                  int64_t last) {
  std::vector<float> exps((size_t)s.depth);
  for (int64_t row = first; row < last; ++row) {
    softmax_row(s, (const In*)x + row * s.depth, (Out*)out + row * s.depth, exps);
  }
}

template <class T>
void move_item(const Move& move, const T* in, T* out) {
  const T fill = (T)move.fill;
  for (const Move::Run& run : move.runs) {
    if (run.from < 0) {
      std::fill_n(out, run.count, fill);
    } else if (run.count == 1) {
      *out = in[run.from];
    } else {
      std::memcpy(out, in + run.from, (size_t)run.count * sizeof(T));
    }
    out += run.count;
  }
}

template <class T>
void move_items(const Move& move, const uint8_t* in, uint8_t* out, int64_t items, int threads) {
  const int64_t slice = std::max<int64_t>(1, kSmall / std::max<int64_t>(1, move.out_count));
  for_slices(items, slice, threads, [&](int64_t first, int64_t last, Scratch&) {
    for (int64_t i = first; i < last; ++i) {
      move_item(move, (const T*)in + i * move.in_count, (T*)out + i * move.out_count);
    }
  });
}

}  // namespace

void run(const Level& level, const MatrixProduct& p, const uint8_t* a, const uint8_t* b,
         uint8_t* out, int64_t batch, int threads) {
  const int padded = (p.columns + kAtOnce - 1) / kAtOnce * kAtOnce;
  const int64_t work = int64_t{1} * p.rows * p.depth * p.columns;
  const int64_t slice = std::max<int64_t>(1, 4 * kSmall / std::max<int64_t>(1, work));
  for_slices(batch, slice, threads, [&](int64_t first, int64_t last, Scratch&) {
    thread_local std::vector<int32_t> left, right, acc;
    left.resize((size_t)p.rows * (size_t)p.depth);
    right.assign((size_t)p.depth * (size_t)padded, 0);
    acc.resize((size_t)padded);
    for (int64_t i = first; i < last; ++i) {
      widen(a + i * p.rows * p.depth, p.first_unsigned, p.first_zero, p.rows, p.depth,
            p.first_turned, p.depth, left.data());
      widen(b + i * p.depth * p.columns, p.second_unsigned, p.second_zero, p.depth, p.columns,
            p.second_turned, padded, right.data());
      for (int row = 0; row < p.rows; ++row) {
        level.multiply_row(left.data() + (int64_t)row * p.depth, right.data(), p.depth, padded,
                           acc.data());
        uint8_t* to = out + (i * p.rows + row) * p.columns;
        level.requantize_row(p.requantization, p.output_flip, acc.data(), to, p.columns);
      }
    }
  });
}

void run(const TableSoftmax& s, const uint8_t* x, uint8_t* out, int64_t rows, int threads) {
  const int64_t slice = std::max<int64_t>(1, kSmall / 4 / std::max(1, s.depth));
  const auto work = s.input_unsigned
                        ? (s.output_unsigned ? &softmax_rows<uint8_t, uint8_t>
                                             : &softmax_rows<uint8_t, int8_t>)
                        : (s.output_unsigned ? &softmax_rows<int8_t, uint8_t>
                                             : &softmax_rows<int8_t, int8_t>);
  for_slices(rows, slice, threads, [&](int64_t first, int64_t last, Scratch&) {
    work(s, x, out, first, last);
  });
}

void run(const Move& move, const uint8_t* in, uint8_t* out, int64_t items, int threads) {
  const auto work = move.element == 1   ? &move_items<uint8_t>
                    : move.element == 2 ? &move_items<uint16_t>
                                        : &move_items<uint32_t>;
  work(move, in, out, items, threads);
}

}  // namespace edgefarm
