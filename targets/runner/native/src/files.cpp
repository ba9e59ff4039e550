#include "files.h"

#include <cerrno>
#include <cstring>

#include "job.h"

namespace edgefarm {

File open_file(const std::string& path, const char* mode) {
  return File(std::fopen(path.c_str(), mode), std::fclose);
}

std::optional<std::string> read_text(const std::string& path) {
  const File file = open_file(path, "r");
  if (!file) return std::nullopt;
  std::string text;
  char chunk[4096];
  while (const size_t size = std::fread(chunk, 1, sizeof(chunk), file.get())) {
    text.append(chunk, size);
  }
  if (std::ferror(file.get())) return std::nullopt;
  return text;
}

void write_atomically(const std::string& path, const std::string& text) {
  const std::string partial = path + ".part";
  File file = open_file(partial, "w");
  if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
      std::fclose(file.release()) != 0 || std::rename(partial.c_str(), path.c_str()) != 0) {
    throw_write_error(path);
  }
}

void throw_write_error(const std::string& path) {
  const bool full = errno == ENOSPC || errno == EDQUOT;
  throw JobError(full ? "disk_full" : "internal", path + ": " + std::strerror(errno));
}

}  // namespace edgefarm
