#include "fuzz/h1_llhttp.h"

#include <llhttp.h>

#include "libs/base/check.h"

namespace tulle::http {
namespace {

struct Theirs {
  std::string text, head, name, value, data, method;
  bool answers_head = false;  // a response to HEAD, which llhttp cannot know
  size_t whole = 0;           // of `text`: messages that are complete
  int status = 0;             // of a response
  size_t left;
  bool in_trailers = false;

  void end_field() {
    if (name.empty() && value.empty()) return;
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.pop_back();
    // A 1xx or 204 has no body, and ours drops what says that it had (RFC 9110 §8.6, RFC 9112 §6.1).
    bool dropped = (status / 100 == 1 || status == 204) &&
                   (to_lower(name) == "content-length" || to_lower(name) == "transfer-encoding");
    if (!in_trailers && !dropped) append(head, "|", to_lower(name), ":", value);
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
int on_status(llhttp_t* p) { return self(p).status = p->status_code, 0; }
int on_value(llhttp_t* p, const char* at, size_t n) { return self(p).value.append(at, n), 0; }
int on_value_end(llhttp_t* p) { return self(p).end_field(), 0; }
int on_head(llhttp_t* p) {
  Theirs& t = self(p);
  t.end_field();
  t.in_trailers = true;
  if (p->type == HTTP_REQUEST) append(t.text, t.method);
  else append(t.text, p->status_code);
  append(t.text, p->http_minor == 0 ? " 1.0" : " 1.1", t.head, "\n");
  // As Node.js tells it of what has no body whatever its fields say.
  int status = p->status_code;
  return p->type == HTTP_RESPONSE && (t.answers_head || status / 100 == 1 || status == 204 || status == 304);
}
int on_body(llhttp_t* p, const char* at, size_t n) { return self(p).data.append(at, n), 0; }
int on_end(llhttp_t* p) {
  Theirs& t = self(p);
  append(t.text, "<", t.data, ">", llhttp_should_keep_alive(p) ? " keep" : " close");
  t.whole = t.text.size();
  return --t.left == 0 ? HPE_PAUSED : 0;
}

}  // namespace

void compare(Role role, Bytes in, const Transcript& mine, bool answers_head, bool eof) {
  // llhttp takes no tab off the ends of "close" and "keep-alive", and does not know them then.
  if (in.find('\t') != in.npos) return;
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_message_begin = on_begin;
  settings.on_method = on_method;
  settings.on_status_complete = on_status;
  settings.on_header_field = on_name;
  settings.on_header_value = on_value;
  settings.on_header_value_complete = on_value_end;
  settings.on_headers_complete = on_head;
  settings.on_body = on_body;
  settings.on_message_complete = on_end;
  llhttp_t parser;
  llhttp_init(&parser, role == Role::kRequest ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
  Theirs theirs;
  theirs.left = mine.messages;
  theirs.answers_head = answers_head;
  parser.data = &theirs;
  llhttp_errno_t result = llhttp_execute(&parser, in.data(), in.size());
  if (result == HPE_OK && eof) result = llhttp_finish(&parser);
  bool refused = result != HPE_OK && result != HPE_PAUSED && result != HPE_PAUSED_UPGRADE;
  bool agree = refused ? mine.text.starts_with(theirs.text.substr(0, theirs.whole)) : mine.text == theirs.text;
  if (!agree) {
    std::fprintf(stderr, "ours:\n%s\nllhttp (%s %s):\n%s\n", mine.text.c_str(), llhttp_errno_name(result),
                 parser.reason, theirs.text.c_str());
  }
  TULLE_CHECK(agree);
}

}  // namespace tulle::http
