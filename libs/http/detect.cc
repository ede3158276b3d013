#include "libs/http/detect.h"

#include <algorithm>

#include "libs/http/chars.h"

namespace tulle::http {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0";
constexpr size_t kMethodMax = 32;
constexpr size_t kTargetMax = 8 * 1024;

// `text` is a start of `whole`, or the other way round.
bool agrees(std::string_view text, std::string_view whole) {
  size_t n = std::min(text.size(), whole.size());
  return text.substr(0, n) == whole.substr(0, n);
}

constexpr std::string_view kMethods[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                         "CONNECT", "OPTIONS", "TRACE", "PATCH"};
// White space to some server: Python's and Netty's among them.
constexpr std::string_view kBlanks = " \t\v\f\r\x1c\x1d\x1e\x1f\x85\xa0", kEmptyLines = "\r\n";

size_t token_size(Bytes text) {
  size_t n = 0;
  while (n < text.size() && token_lower(text[n])) ++n;
  return n;
}

// As a strict server reads it (RFC 9112 §3).
Detected strictly(Bytes prefix, size_t method_max) {
  if (agrees(prefix, kPreface)) return prefix.size() >= kPreface.size() ? Detected::kHttp2 : Detected::kNeedMore;
  if (prefix[0] == '\r') {
    if (!agrees(prefix, "\r\n")) return Detected::kNotHttp;
    prefix.remove_prefix(std::min<size_t>(2, prefix.size()));
  }
  size_t n = token_size(prefix);
  if (n > method_max) return Detected::kNotHttp;
  if (n == prefix.size()) return Detected::kNeedMore;
  if (n == 0 || prefix[n] != ' ') return Detected::kNotHttp;
  prefix.remove_prefix(n + 1);

  n = std::min(prefix.find(' '), prefix.size());
  if (!is_target(prefix.substr(0, n))) return Detected::kNotHttp;
  if (n > kTargetMax) return Detected::kHttp1;
  if (n == prefix.size()) return Detected::kNeedMore;
  if (n == 0) return Detected::kNotHttp;
  prefix.remove_prefix(n + 1);

  constexpr std::string_view kVersion = "HTTP/1.";
  if (!agrees(prefix, kVersion)) return Detected::kNotHttp;
  return prefix.size() >= kVersion.size() ? Detected::kHttp1 : Detected::kNeedMore;
}

// Control characters and white space, those of ISO 8859-1 included.
bool is_skipped(char c) {
  auto byte = static_cast<uint8_t>(c);
  return byte <= ' ' || (byte >= 0x7f && byte <= 0xa0);
}

// NAME/1.1, or another version of anything.
bool is_version(std::string_view word) {
  size_t n = word.size();
  return n > 4 && token_lower(word[0]) && word[n - 4] == '/' && is_digit(word[n - 3]) && word[n - 2] == '.' &&
         is_digit(word[n - 1]);
}

bool begins_url(std::string_view text) {
  return iequals(text.substr(0, 7), "http://") || iequals(text.substr(0, 8), "https://");
}

// As a server that takes almost anything might: a line of a token, white space, and HTTP/ in its last word, or any
// version after a path or URL; or, with a standard method, a path or URL (HTTP/0.9) or a control character. `doubtful`:
// what a line without end is, one of another method with a control character, and what other protocols say, too: any
// target before a version (Node.js takes RTSP and ICE) or after a standard method (Werkzeug takes "GET admin").
Detected loosely(Bytes prefix, size_t method_max, Detected doubtful) {
  const bool at_most = prefix.size() >= kDetectMax;
  prefix.remove_prefix(std::min(prefix.find_first_not_of(kEmptyLines), prefix.size()));
  size_t n = token_size(prefix);
  if (n > method_max || (at_most && n == prefix.size())) return doubtful;
  if (n == prefix.size()) return Detected::kNeedMore;
  if (n == 0 || !kBlanks.contains(prefix[n])) return Detected::kNotHttp;
  Bytes method = prefix.substr(0, n), line = prefix.substr(n, prefix.find('\n', n) - n);
  const bool whole = n + line.size() < prefix.size();
  bool standard = std::ranges::any_of(kMethods, [&](std::string_view m) { return iequals(m, method); });
  for (char c : line)
    if ((static_cast<uint8_t>(c) < ' ' && !kBlanks.contains(c)) || c == '\x7f')
      return standard ? Detected::kHttp1 : doubtful;
  if (!whole) return !at_most ? Detected::kNeedMore : standard ? Detected::kHttp1 : doubtful;

  size_t first = line.find_first_not_of(kBlanks);
  if (first == line.npos) return Detected::kNotHttp;
  line = line.substr(first, line.find_last_not_of(kBlanks) + 1 - first);
  Bytes last = line.substr(line.find_last_of(kBlanks) + 1);
  constexpr std::string_view kVersion = "HTTP/";
  if (iequals(last.substr(0, kVersion.size()), kVersion)) return Detected::kHttp1;
  const bool place = line[0] == '/' || begins_url(line), version = last.size() < line.size() && is_version(last);
  if (version) return place ? Detected::kHttp1 : doubtful;
  // Text protocols have a GET, too: of a key, or in lower case.
  if (place && std::ranges::find(kMethods, method) != std::end(kMethods)) return Detected::kHttp1;
  return standard ? doubtful : Detected::kNotHttp;
}

}  // namespace

Detected detect(Bytes prefix) {
  Detected strict = strictly(prefix, kMethodMax);
  return strict == Detected::kNotHttp ? loosely(prefix, kMethodMax, Detected::kNotHttp) : strict;
}

Detected detect_guarded(Bytes prefix) {
  size_t skipped = 0;
  while (skipped < prefix.size() && is_skipped(prefix[skipped])) ++skipped;
  if (skipped >= kDetectMax) return Detected::kHttp1;
  if (skipped == prefix.size()) return Detected::kNeedMore;
  prefix.remove_prefix(skipped);
  Detected strict = strictly(prefix, kDetectMax);
  return strict == Detected::kNotHttp ? loosely(prefix, kDetectMax, Detected::kHttp1) : strict;
}

bool greets_in_http2(Bytes greeting) {
  constexpr std::string_view kSettings("\4\0\0\0\0\0", 6);  // after the length; no flags, stream 0
  return greeting.size() >= 9 && greeting[0] == 0 && greeting[1] == 0 && static_cast<uint8_t>(greeting[2]) % 6 == 0 &&
         greeting.substr(3, kSettings.size()) == kSettings;
}

bool begins_with_method(Bytes prefix) {
  prefix.remove_prefix(std::min(prefix.find_first_not_of(kEmptyLines), prefix.size()));
  size_t n = token_size(prefix);
  Bytes method = prefix.substr(0, n);
  bool cut = n == prefix.size();
  return n > 0 && (cut || kBlanks.contains(prefix[n])) &&
         std::ranges::any_of(kMethods, [&](std::string_view m) { return cut ? m.starts_with(method) : m == method; });
}

namespace {

constexpr uint8_t kHandshake = 22, kHello = 1;
constexpr size_t kRecordMax = 16 * 1024;

// Reads big-endian fields from the front; after a read past the end, ok is false and all reads give nothing.
struct Reader {
  Bytes left;
  bool ok = true;

  Bytes take(size_t n) {
    if (!ok || left.size() < n) {
      ok = false;
      return {};
    }
    Bytes out = left.substr(0, n);
    left.remove_prefix(n);
    return out;
  }
  uint32_t number(size_t bytes) {
    uint32_t n = 0;
    for (char c : take(bytes)) n = n << 8 | static_cast<uint8_t>(c);
    return n;
  }
  // A vector with a length of so many bytes before it.
  Reader vector(size_t length_bytes) {
    Bytes body = take(number(length_bytes));
    return {body, ok};
  }
};

bool read_server_name(Reader r, ClientHello& hello) {
  Reader list = r.vector(2);
  while (list.ok && !list.left.empty()) {
    uint32_t type = list.number(1);
    Bytes name = list.vector(2).left;
    if (!list.ok) return false;
    if (type != 0 || !hello.sni.empty()) continue;
    // A name goes into logs and comparisons: only what a DNS name is made of.
    for (char c : name)
      if (!detail::is_alpha(c) && !is_digit(c) && c != '-' && c != '.' && c != '_') return false;
    if (name.empty() || name.size() > 255) return false;
    hello.sni = to_lower(name);
  }
  return list.ok;
}

bool read_alpn(Reader r, ClientHello& hello) {
  Reader list = r.vector(2);
  while (list.ok && !list.left.empty()) {
    Bytes name = list.vector(1).left;
    if (!list.ok || name.empty()) return false;
    if (hello.alpn.size() < 64) hello.alpn.emplace_back(name);
  }
  return list.ok;
}

bool read_hello(Bytes body, ClientHello& hello) {
  Reader r{body};
  r.take(2);  // version
  // A server that skips control characters would take what follows such a "hello" for a request.
  if (Bytes random = r.take(32); std::ranges::all_of(random, is_skipped)) return false;
  r.vector(1);  // session id
  r.vector(2);  // cipher suites
  r.vector(1);  // compression methods
  if (!r.ok) return false;
  if (r.left.empty()) return true;  // no extensions
  Reader extensions = r.vector(2);
  if (!r.ok || !r.left.empty()) return false;
  while (!extensions.left.empty()) {
    uint32_t type = extensions.number(2);
    Reader body_of = extensions.vector(2);
    if (!extensions.ok) return false;
    if (type == 0 && !read_server_name(body_of, hello)) return false;
    if (type == 16 && !read_alpn(body_of, hello)) return false;
  }
  return true;
}

}  // namespace

HelloResult parse_client_hello(Bytes prefix) {
  using Kind = HelloResult::Kind;
  // The handshake message may be split over records; joined only if it is.
  std::string joined;
  Bytes message;
  size_t want = 4;
  Bytes rest = prefix;
  while (message.size() < want) {
    bool too_large = prefix.size() >= kHelloMax;
    if (!rest.empty() && static_cast<uint8_t>(rest[0]) != kHandshake) return {Kind::kNotTls, {}};
    if (rest.size() >= 2 && rest[1] != 3) return {Kind::kNotTls, {}};
    if (rest.size() < 5) return {too_large ? Kind::kNotTls : Kind::kNeedMore, {}};
    size_t length = Reader{rest.substr(3, 2)}.number(2);
    if (length == 0 || length > kRecordMax) return {Kind::kNotTls, {}};
    Bytes piece = rest.substr(5, length);
    if (message.empty()) {
      message = piece;
    } else {
      if (joined.empty()) joined = message;
      joined.append(piece);
      message = joined;
    }
    if (!message.empty() && static_cast<uint8_t>(message[0]) != kHello) return {Kind::kNotTls, {}};
    if (message.size() >= 4) {
      want = 4 + Reader{message.substr(1, 3)}.number(3);
      if (want > kRecordMax) return {Kind::kNotTls, {}};
    }
    if (message.size() >= want) break;
    if (piece.size() < length) return {too_large ? Kind::kNotTls : Kind::kNeedMore, {}};
    rest.remove_prefix(5 + length);
  }
  HelloResult result;
  bool good = read_hello(message.substr(4, want - 4), result.hello);
  result.kind = good ? Kind::kFound : Kind::kNotTls;
  if (!good) result.hello = {};
  return result;
}

}  // namespace tulle::http
