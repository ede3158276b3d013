// What a client's first bytes are. Pure functions over a prefix; call again with a longer one while kNeedMore.
#pragma once

#include <string>
#include <vector>

#include "libs/base/strings.h"

namespace tulle::http {

enum class Detected : uint8_t { kNeedMore, kHttp1, kHttp2, kNotHttp };

// A prefix of this size is never kNeedMore.
inline constexpr size_t kDetectMax = 8 * 1024 + 64;

// HTTP/2: the first 14 bytes of its preface, "PRI * HTTP/2.0". HTTP/1: a request line up to "HTTP/1." (at most one
// empty line before it), and also whatever a server less strict than ours could take for one (any empty lines before
// it, other white space, HTTP/0.9, other versions and protocols): it has to be refused by the codec, and not to pass as
// raw bytes around all that is decided about requests. kNeedMore: still a possible start of either. A request target
// too long to decide is kHttp1, so that it gets its 414.
Detected detect(Bytes prefix);

// The same for where requests must not get round what is decided about them, at some cost to what is no HTTP: all of
// the prefix may be what servers skip before a request (control characters, white space), a method may be of any
// length, and a line without end, or with a control character, is kHttp1. A prefix of 3 × kDetectMax is never
// kNeedMore.
Detected detect_guarded(Bytes prefix);

// Whether a server that speaks first has sent HTTP/2's SETTINGS: many do not wait for the client's preface (RFC 9113
// §3.4), and are no less HTTP for it.
bool greets_in_http2(Bytes greeting);

// Whether all of the prefix may be the start of a request with one of the standard methods, cut anywhere: "GE". For a
// client that fell silent there.
bool begins_with_method(Bytes prefix);

struct ClientHello {
  std::string sni;                // host_name, lower case; "" when there is none
  std::vector<std::string> alpn;  // in the client's order
};

struct HelloResult {
  enum class Kind : uint8_t { kNeedMore, kNotTls, kFound };
  Kind kind = Kind::kNeedMore;
  ClientHello hello;  // kFound
};

// A prefix of this size is never kNeedMore.
inline constexpr size_t kHelloMax = 16 * 1024 + 64;

// Reads a TLS ClientHello (RFC 8446 §4.1.2), also one split over records. kNotTls: it is something else or
// malformed, or larger than kHelloMax.
HelloResult parse_client_hello(Bytes prefix);

}  // namespace tulle::http
