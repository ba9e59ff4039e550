#include "kernels.h"
#include "simd_neon.h"

namespace edgefarm {
extern const Level kNeonLevel;
const Level kNeonLevel = Kernels<Neon>::level();
}  // namespace edgefarm
