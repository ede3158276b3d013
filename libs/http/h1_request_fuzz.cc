#include "libs/http/h1_fuzz_support.h"

// The first byte says where to split.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::http;
  if (size == 0) return 0;
  tulle::Bytes in(reinterpret_cast<const char*>(data) + 1, size - 1);
  check_splits(Role::kRequest, in, data[0] * 7u, [](H1Parser&, H1Transcript&) {});
  return 0;
}
