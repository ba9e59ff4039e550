// Products of matrices that are both computed, SOFTMAX by a table, and moves.
#pragma once

#include <cstdint>
#include <vector>

#include "layer.h"
#include "pack.h"

namespace edgefarm {

// y = requantize(sum (a - a_zero) (b - b_zero)) of bytes: (rows, depth) by (depth, columns), each
// stored turned where it says so.
struct MatrixProduct {
  int rows, depth, columns;
  bool first_turned, second_turned;
  bool first_unsigned, second_unsigned, output_unsigned;
  int32_t first_zero, second_zero;
  Requantization requantization;  // the same in each of `lanes`
  uint8_t output_flip;
};

// `parameters`: one value for all columns. Throws std::invalid_argument as pack.h does.
MatrixProduct pack_product(const Level& level, const std::vector<int>& sizes,
                           const std::vector<int32_t>& zeros, const std::vector<bool>& flags,
                           const Parameters& parameters);
void run(const Level& level, const MatrixProduct& layer, const uint8_t* a, const uint8_t* b,
         uint8_t* out, int64_t batch, int threads);

// Rows of bytes: the table's exponentials of the distance to the largest, over their sum
// (harness/emulator/ops/softmax.py, "exp-table").
struct TableSoftmax {
  std::vector<float> table;  // 256
  int depth;
  float output_scale;
  int32_t output_zero;
  bool input_unsigned, output_unsigned, half_added;
};
void run(const TableSoftmax& layer, const uint8_t* x, uint8_t* out, int64_t rows, int threads);

// Elements that go to other places: the output is these runs one after the other, each of
// neighbours from `from` on, or of the fill where `from` is below 0.
struct Move {
  struct Run {
    int32_t from, count;
  };
  std::vector<Run> runs;
  int64_t in_count = 0, out_count = 0;
  int element = 1;  // bytes: 1, 2 or 4
  uint32_t fill = 0;
};
void run(const Move& move, const uint8_t* in, uint8_t* out, int64_t items, int threads);

}  // namespace edgefarm
