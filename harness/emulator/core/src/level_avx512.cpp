#include "simd_avx512.h"
#include "kernels.h"

namespace edgefarm {
extern const Level kAvx512Level;
const Level kAvx512Level = Kernels<Avx512>::level();
}  // namespace edgefarm
