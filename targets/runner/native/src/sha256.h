// SHA-256 of a file (FIPS 180-4).
#pragma once

#include <string>

namespace edgefarm {

// Lower-case hex digest; throws JobError("artifact", …) when the file cannot be read.
std::string sha256_file(const std::string& path);

}  // namespace edgefarm
