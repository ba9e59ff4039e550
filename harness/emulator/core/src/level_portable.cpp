#include "simd_portable.h"
#include "kernels.h"

namespace edgefarm {
extern const Level kPortableLevel;
const Level kPortableLevel = Kernels<Portable>::level();
}  // namespace edgefarm
