#include "npy.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "job.h"

namespace edgefarm {
namespace {

constexpr size_t kPreamble = 10;  // magic, version, length of the header
constexpr size_t kAlignment = 64;
const char kMagic[] = "\x93NUMPY\x01";

// `header` is a Python dictionary as np.save writes it, keys in alphabetical order.
ArrayType parse_header(const std::string& header, const std::string& path) {
  char descr[8], shape[128];
  if (std::sscanf(header.c_str(),
                  "{'descr': '%7[^']', 'fortran_order': False, 'shape': (%127[0-9, ])", descr,
                  shape) != 2) {
    throw JobError("model", path + ": not a C-ordered array of numbers: " + header);
  }
  ArrayType type = {descr, {}};
  const char* at = shape;
  while (*(at += std::strspn(at, ", ")) != '\0') {
    char* end = nullptr;
    type.shape.push_back(std::strtoull(at, &end, 10));
    at = end;
  }
  return type;
}

}  // namespace

size_t ArrayType::item_bytes() const {
  return std::strtoull(descr.c_str() + 2, nullptr, 10);
}

size_t ArrayType::row_bytes() const {
  if (shape.empty()) return item_bytes();
  return std::accumulate(shape.begin() + 1, shape.end(), item_bytes(), std::multiplies<>());
}

NpyInput::NpyInput(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status = {};
  if (fd < 0 || fstat(fd, &status) != 0) throw JobError("internal", path + " cannot be read");
  mapped_bytes_ = size_t(status.st_size);
  mapping_ = mmap(nullptr, mapped_bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (mapping_ == MAP_FAILED) throw JobError("internal", path + " cannot be mapped");
  const auto* bytes = static_cast<const uint8_t*>(mapping_);
  if (mapped_bytes_ < kPreamble || std::memcmp(bytes, kMagic, 7) != 0) {
    throw JobError("model", path + " is not an .npy file of version 1");
  }
  const size_t start = kPreamble + bytes[8] + size_t(bytes[9]) * 256;
  if (start > mapped_bytes_) throw JobError("model", path + " is cut short");
  type_ = parse_header(std::string(bytes + kPreamble, bytes + start), path);
  const size_t rows = type_.shape.empty() ? 1 : type_.shape[0];
  if (mapped_bytes_ - start != rows * type_.row_bytes()) {
    throw JobError("model", path + " has another length than its header says");
  }
  data_ = bytes + start;
}

NpyInput::NpyInput(NpyInput&& other) noexcept
    : type_(std::move(other.type_)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapped_bytes_(other.mapped_bytes_),
      data_(other.data_) {}

NpyInput::~NpyInput() {
  if (mapping_ != nullptr && mapping_ != MAP_FAILED) munmap(mapping_, mapped_bytes_);
}

NpyOutput::NpyOutput(const std::string& path, const ArrayType& type)
    : path_(path), file_(open_file(path, "wb")) {
  if (!file_) throw_write_error(path_);
  std::string shape;
  for (const size_t n : type.shape) shape += std::to_string(n) + ", ";
  if (type.shape.size() > 1) shape.resize(shape.size() - 2);  // (3,) but (3, 4)
  if (type.shape.size() == 1) shape.pop_back();
  std::string header =
      "{'descr': '" + type.descr + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(kAlignment - (kPreamble + header.size() + 1) % kAlignment, ' ');
  header += '\n';
  const char length[] = {char(header.size() % 256), char(header.size() / 256)};
  append("\x93NUMPY\x01\x00", 8);
  append(length, sizeof(length));
  append(header.data(), header.size());
}

void NpyOutput::append(const void* data, size_t bytes) {
  if (std::fwrite(data, 1, bytes, file_.get()) != bytes) throw_write_error(path_);
}

void NpyOutput::close() {
  if (std::fclose(file_.release()) != 0) throw_write_error(path_);
}

}  // namespace edgefarm
