#include <cstddef>
#include <cstdint>

#include "control/source/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto parsed = tulle::control::parse_manifest("f", {reinterpret_cast<const char*>(data), size});
  for (const auto& problem : parsed.problems)
    if (problem.to_string().empty()) __builtin_trap();
  return 0;
}
