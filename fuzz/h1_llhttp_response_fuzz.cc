// As h1_llhttp_fuzz, for responses, until the connection becomes a tunnel or ends: a response that two programs read
// differently is how one client gets what is another's. The corpus is that of h1_response_fuzz, with its two first
// bytes: the second says which method was asked, and whether an upgrade.
#include "fuzz/h1_llhttp.h"

namespace {

using namespace tulle;
using namespace tulle::http;

Transcript ours(Bytes in, Method method, bool upgrade) {
  Transcript t;
  std::string text, data;
  H1Parser parser(Role::kResponse, Limits());
  parser.expect_response_to(method, upgrade);
  auto head = [&] {
    append(text, parser.response().status, parser.response().version == Version::kHttp10 ? " 1.0" : " 1.1");
    write_fields(text, parser.response().headers);
    text += "\n";
  };
  auto end = [&](std::string_view keep) {
    append(text, "<", data, ">", keep);
    data.clear();
    t.text = text;
    ++t.messages;
  };
  for (;;) {
    switch (parser.next(in)) {
      case H1Parser::Event::kInterim:
        head();
        end(parser.keep_alive() ? " keep" : " close");
        if (!parser.keep_alive()) return t;  // llhttp reads nothing after it
        break;
      case H1Parser::Event::kResponse:
        if (parser.framing() == Framing::kTunnel) return t;
        head();
        break;
      case H1Parser::Event::kData: data += parser.data(); break;
      case H1Parser::Event::kEnd:
        end(parser.keep_alive() ? " keep" : " close");
        if (!parser.keep_alive()) return t;
        parser.expect_response_to(method, upgrade);
        break;
      case H1Parser::Event::kNeedMore:
        if (parser.finish_eof() == H1Parser::Event::kEnd) end(" close");
        return t;
      default: return t;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  auto method = static_cast<Method>(data[1] % 10);
  if (method == Method::kConnect) return 0;
  Bytes in(reinterpret_cast<const char*>(data) + 2, size - 2);
  Transcript mine = ours(in, method, data[1] & 0x80);
  if (mine.messages > 0) compare(Role::kResponse, in, mine, method == Method::kHead, true);
  return 0;
}
