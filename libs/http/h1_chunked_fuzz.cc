#include "libs/http/h1_fuzz_support.h"

// A chunked body after a fixed head; the first byte says where to split.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::http;
  if (size == 0) return 0;
  tulle::Bytes in(reinterpret_cast<const char*>(data) + 1, size - 1);
  check_splits(Role::kRequest, in, data[0], [](H1Parser& parser, H1Transcript& t) {
    t.feed(parser, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
  });
  return 0;
}
