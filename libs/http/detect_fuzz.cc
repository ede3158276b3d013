#include "libs/base/check.h"
#include "libs/http/detect.h"

// A decision may not change with more bytes, and comes in time.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::http;
  tulle::Bytes in(reinterpret_cast<const char*>(data), size);
  Detected decided = Detected::kNeedMore;
  HelloResult hello;
  size_t step = size > 512 ? 61 : 1;
  for (size_t n = 0; n <= size; n += step) {
    Detected d = detect(in.substr(0, n));
    TULLE_CHECK(decided == Detected::kNeedMore || d == decided);
    decided = d;
    HelloResult h = parse_client_hello(in.substr(0, n));
    TULLE_CHECK(hello.kind == HelloResult::Kind::kNeedMore || h.kind == hello.kind);
    TULLE_CHECK(hello.kind != HelloResult::Kind::kFound || h.hello.sni == hello.hello.sni);
    hello = std::move(h);
  }
  TULLE_CHECK(size < kDetectMax || detect(in) != Detected::kNeedMore);
  TULLE_CHECK(size < 3 * kDetectMax || detect_guarded(in) != Detected::kNeedMore);
  // What does not pass as raw bytes where nothing is at stake does not where something is.
  TULLE_CHECK(detect(in) != Detected::kHttp1 || detect_guarded(in) != Detected::kNotHttp);
  TULLE_CHECK(size < kHelloMax || parse_client_hello(in).kind != HelloResult::Kind::kNeedMore);
  return 0;
}
