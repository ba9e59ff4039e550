#include "kernels.h"
#include "simd_avx2.h"

namespace edgefarm {
extern const Level kAvx2Level;
const Level kAvx2Level = Kernels<Avx2>::level();
}  // namespace edgefarm
