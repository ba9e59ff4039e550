#include "simd_avx2.h"
#include "kernels.h"

namespace edgefarm {
extern const Level kAvx2Level;
const Level kAvx2Level = Kernels<Avx2>::level();
}  // namespace edgefarm
