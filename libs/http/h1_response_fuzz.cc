#include "libs/http/h1_fuzz_support.h"

// The first byte says where to split, the second what was asked.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::http;
  if (size < 2) return 0;
  tulle::Bytes in(reinterpret_cast<const char*>(data) + 2, size - 2);
  Method method = static_cast<Method>(data[1] % 10);
  bool upgrade = data[1] & 0x80;
  check_splits(Role::kResponse, in, data[0] * 7u, [&](H1Parser& parser, H1Transcript& t) {
    t.expect_more = true;
    t.expect_more_method = method;
    parser.expect_response_to(method, upgrade);
  });
  return 0;
}
