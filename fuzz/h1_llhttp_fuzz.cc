// Whatever our HTTP/1 parser accepts, llhttp must read in the same way: a request that two programs read differently is
// how one is smuggled past the other. What ours refuses and llhttp accepts is fine. The first byte of an input is
// unused, so that the corpus of h1_request_fuzz serves here too.
#include "fuzz/h1_llhttp.h"

namespace {

using namespace tulle;
using namespace tulle::http;

Transcript ours(Bytes in) {
  Transcript t;
  std::string text, data;
  H1Parser parser(Role::kRequest, Limits());
  for (;;) {
    switch (parser.next(in)) {
      case H1Parser::Event::kRequest:
        append(text, parser.request().method, parser.request().version == Version::kHttp10 ? " 1.0" : " 1.1");
        write_fields(text, parser.request().headers);
        text += "\n";
        break;
      case H1Parser::Event::kData: data += parser.data(); break;
      case H1Parser::Event::kEnd:
        append(text, "<", data, ">", parser.keep_alive() ? " keep" : " close");
        data.clear();
        t.text = text;
        ++t.messages;
        if (parser.held() || !parser.keep_alive()) return t;
        break;
      default: return t;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Bytes in(reinterpret_cast<const char*>(data) + 1, size - 1);
  Transcript mine = ours(in);
  if (mine.messages > 0) compare(Role::kRequest, in, mine, false, false);
  return 0;
}
