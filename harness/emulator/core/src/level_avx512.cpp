#include "kernels.h"
#include "simd_avx512.h"

namespace edgefarm {
extern const Level kAvx512Level;
const Level kAvx512Level = Kernels<Avx512>::level();
}  // namespace edgefarm
