#include "litert_api.h"

#include <dlfcn.h>

#include "job.h"

namespace edgefarm::litert {
namespace {

void* find(void* library, const char* name) {
  void* symbol = dlsym(library, name);
  if (symbol == nullptr) throw JobError("runtime_missing", dlerror());
  return symbol;
}

}  // namespace

Api open_api(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw JobError("runtime_missing", dlerror());
  Api api = {};
#define EDGEFARM_FIND(name, parameters) \
  api.name = reinterpret_cast<decltype(api.name)>(find(handle, "LiteRt" #name));
  EDGEFARM_LITERT_STATUS_FUNCTIONS(EDGEFARM_FIND)
  EDGEFARM_LITERT_VOID_FUNCTIONS(EDGEFARM_FIND)
#undef EDGEFARM_FIND
  return api;
}

}  // namespace edgefarm::litert
