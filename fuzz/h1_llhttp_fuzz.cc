// Whatever our HTTP/1 parser accepts, llhttp (the parser of Node.js) must read in the same way: a request that two
// programs read differently is how one is smuggled past the other. What ours refuses and llhttp accepts is fine.
// The first byte of an input is unused, so that the corpus of h1_request_fuzz serves here too.
#include <llhttp.h>

#include <string>

#include "libs/base/check.h"
#include "libs/http/h1.h"

namespace {

using namespace tulle;
using namespace tulle::http;

// Of each whole message: a line for the head, then the body in <>.
std::string ours(Bytes in, size_t& whole_messages) {
  std::string text, data;
  size_t whole = 0;  // of the text
  H1Parser parser(Role::kRequest, Limits());
  whole_messages = 0;
  for (;;) {
    switch (parser.next(in)) {
      case H1Parser::Event::kRequest: {
        RequestHead& r = parser.request();
        append(text, r.method, r.version == Version::kHttp10 ? " 1.0" : " 1.1",
               parser.keep_alive() ? " keep" : " close");
        r.headers.for_each([&](const Header& h) { append(text, "|", h.name, ":", h.value); });
        text += "\n";
        break;
      }
      case H1Parser::Event::kData: data += parser.data(); break;
      case H1Parser::Event::kEnd:
        append(text, "<", data, ">");
        data.clear();
        whole = text.size();
        ++whole_messages;
        if (parser.held() || !parser.keep_alive()) return text;
        break;
      default: return text.substr(0, whole);
    }
  }
}

struct Theirs {
  std::string text, head, name, value, data, method;
  size_t left;
  bool in_trailers = false;

  void end_field() {
    if (name.empty() && value.empty()) return;
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.pop_back();
    if (!in_trailers) append(head, "|", to_lower(name), ":", value);
    name.clear();
    value.clear();
  }
};
Theirs& self(llhttp_t* p) { return *static_cast<Theirs*>(p->data); }

int on_begin(llhttp_t* p) {
  Theirs& t = self(p);
  t.head.clear();
  t.data.clear();
  t.method.clear();
  t.in_trailers = false;
  return 0;
}
int on_method(llhttp_t* p, const char* at, size_t n) { return self(p).method.append(at, n), 0; }
int on_name(llhttp_t* p, const char* at, size_t n) {
  if (!self(p).value.empty()) self(p).end_field();
  return self(p).name.append(at, n), 0;
}
int on_value(llhttp_t* p, const char* at, size_t n) { return self(p).value.append(at, n), 0; }
int on_value_end(llhttp_t* p) { return self(p).end_field(), 0; }
int on_head(llhttp_t* p) {
  Theirs& t = self(p);
  t.end_field();
  t.in_trailers = true;
  append(t.text, t.method, p->http_minor == 0 ? " 1.0" : " 1.1", llhttp_should_keep_alive(p) ? " keep" : " close",
         t.head, "\n");
  return 0;
}
int on_body(llhttp_t* p, const char* at, size_t n) { return self(p).data.append(at, n), 0; }
int on_end(llhttp_t* p) {
  Theirs& t = self(p);
  append(t.text, "<", t.data, ">");
  return --t.left == 0 ? HPE_PAUSED : 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Bytes in(reinterpret_cast<const char*>(data) + 1, size - 1);
  size_t messages = 0;
  std::string mine = ours(in, messages);
  if (messages == 0) return 0;

  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_message_begin = on_begin;
  settings.on_method = on_method;
  settings.on_header_field = on_name;
  settings.on_header_value = on_value;
  settings.on_header_value_complete = on_value_end;
  settings.on_headers_complete = on_head;
  settings.on_body = on_body;
  settings.on_message_complete = on_end;
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  Theirs theirs;
  theirs.left = messages;
  parser.data = &theirs;
  llhttp_errno_t result = llhttp_execute(&parser, in.data(), in.size());
  // Where llhttp refuses (methods and targets that it does not know, blanks in chunk extensions, …), what it had read
  // until then must agree.
  bool refused = result != HPE_OK && result != HPE_PAUSED && result != HPE_PAUSED_UPGRADE;
  bool agree = refused ? mine.starts_with(theirs.text) : mine == theirs.text;
  if (!agree) {
    std::fprintf(stderr, "ours:\n%s\nllhttp (%s %s):\n%s\n", mine.c_str(), llhttp_errno_name(result), parser.reason,
                 theirs.text.c_str());
  }
  TULLE_CHECK(agree);
  return 0;
}
