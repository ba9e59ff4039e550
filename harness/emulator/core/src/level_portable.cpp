#include "kernels.h"
#include "simd_portable.h"

namespace edgefarm {
extern const Level kPortableLevel;
const Level kPortableLevel = Kernels<Portable>::level();
}  // namespace edgefarm
