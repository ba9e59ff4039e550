// Which levels were built, and which of them this processor runs.
#include <cstring>

#include "layer.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace edgefarm {

extern const Level kPortableLevel;
#if defined(__x86_64__)
extern const Level kAvx2Level;
extern const Level kAvx512Level;
#elif defined(__aarch64__)
extern const Level kNeonLevel;
#endif

namespace {

bool always() {
  return true;
}

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512_vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("fma");
}
#elif defined(__aarch64__)
bool has_dotprod() {
  return (getauxval(AT_HWCAP) & (1UL << 20)) != 0;
}  // HWCAP_ASIMDDP
#endif

struct Choice {
  const Level* level;
  bool (*runs_here)();
};

// Best first.
const Choice kChoices[] = {
#if defined(__x86_64__)
    {&kAvx512Level, has_avx512_vnni},
    {&kAvx2Level, has_avx2},
#elif defined(__aarch64__)
    {&kNeonLevel, has_dotprod},
#endif
    {&kPortableLevel, always},
};

}  // namespace

const Level* find_level(const char* name) {
  for (const Choice& choice : kChoices) {
    if (std::strcmp(choice.level->name, name) == 0) {
      return choice.runs_here() ? choice.level : nullptr;
    }
  }
  return nullptr;
}

const Level* best_level() {
  for (const Choice& choice : kChoices) {
    if (choice.runs_here()) return choice.level;
  }
  return &kPortableLevel;
}

}  // namespace edgefarm
