// What the two targets that compare our HTTP/1 parser with llhttp (the parser of Node.js) share: both write down what
// they have read, of each whole message a line for the head, then the body in <>, then whether the connection goes on.
#pragma once

#include <string>

#include "libs/http/h1.h"

namespace tulle::http {

struct Transcript {
  std::string text;  // of whole messages only
  size_t messages = 0;
};

inline void write_fields(std::string& out, const Headers& headers) {
  headers.for_each([&](const Header& h) { append(out, "|", h.name, ":", h.value); });
}

// Has llhttp read `in` for as many messages as ours has found whole, and compares. Where llhttp refuses (methods and
// targets that it does not know, blanks in chunk extensions, …), what it had read until then must agree. `eof`: the
// connection ends after `in`.
void compare(Role role, Bytes in, const Transcript& mine, bool answers_head, bool eof);

}  // namespace tulle::http
