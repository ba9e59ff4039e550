// NumPy's .npy format, version 1: what np.save writes, and what np.load reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "files.h"

namespace edgefarm {

// Element type and shape of an array.
struct ArrayType {
  std::string descr;  // NumPy's, e.g. "|i1", "<f4"
  std::vector<size_t> shape;

  size_t item_bytes() const;
  // Bytes of one entry along the first axis.
  size_t row_bytes() const;
};

// A C-ordered array in a file, mapped into memory.
class NpyInput {
 public:
  // Throws JobError("model", …) when it is not such a file.
  explicit NpyInput(const std::string& path);
  ~NpyInput();
  NpyInput(NpyInput&& other) noexcept;
  NpyInput(const NpyInput&) = delete;
  NpyInput& operator=(const NpyInput&) = delete;

  const ArrayType& type() const { return type_; }
  const uint8_t* data() const { return data_; }

 private:
  ArrayType type_;
  void* mapping_ = nullptr;
  size_t mapped_bytes_ = 0;
  const uint8_t* data_ = nullptr;
};

// Writes an array in pieces along its first axis. Throws JobError("disk_full", …) where it applies.
class NpyOutput {
 public:
  NpyOutput(const std::string& path, const ArrayType& type);
  void append(const void* data, size_t bytes);
  void close();

 private:
  std::string path_;
  File file_;
};

}  // namespace edgefarm
