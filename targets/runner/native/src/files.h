// Small files read whole, results written whole. C streams: the C++ ones would triple the program.
#pragma once

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

namespace edgefarm {

using File = std::unique_ptr<FILE, int (*)(FILE*)>;
File open_file(const std::string& path, const char* mode);

// The text of a file; nothing when it cannot be read.
std::optional<std::string> read_text(const std::string& path);

// Writes a file so that it is either absent or whole.
void write_atomically(const std::string& path, const std::string& text);

// The error for a file that could not be written, by errno: JobError("disk_full" or "internal").
[[noreturn]] void throw_write_error(const std::string& path);

}  // namespace edgefarm
