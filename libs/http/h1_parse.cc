#include <cstring>

#include "libs/base/check.h"
#include "libs/http/chars.h"
#include "libs/http/h1.h"
#include "libs/http/hop_by_hop.h"

namespace tulle::http {
namespace {

constexpr uint64_t kMaxLength = INT64_MAX;

std::string_view trim_blanks(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// What is left for the text of one more line, where `used` counts CRLFs.
size_t room_for_line(uint32_t block, uint32_t used) { return block - std::min(block, used + 2); }

void skip_blanks(std::string_view& s) {
  while (!s.empty() && (s[0] == ' ' || s[0] == '\t')) s.remove_prefix(1);
}

bool take_token(std::string_view& s) {
  size_t n = 0;
  while (n < s.size() && token_lower(s[n])) ++n;
  s.remove_prefix(n);
  return n > 0;
}

bool take_quoted(std::string_view& s) {
  for (size_t i = 1; i < s.size(); ++i) {
    if (s[i] == '\\') {
      ++i;
    } else if (s[i] == '"') {
      bool good = is_field_value(s.substr(0, i));
      s.remove_prefix(i + 1);
      return good;
    }
  }
  return false;
}

// *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), RFC 9112 §7.1.1.
bool is_chunk_extension(std::string_view s) {
  while (!s.empty()) {
    skip_blanks(s);
    if (s.empty() || s[0] != ';') return false;
    s.remove_prefix(1);
    skip_blanks(s);
    if (!take_token(s)) return false;
    std::string_view after_name = s;
    skip_blanks(s);
    if (s.empty() || s[0] != '=') {
      s = after_name;
      continue;
    }
    s.remove_prefix(1);
    skip_blanks(s);
    if (s.empty() || !(s[0] == '"' ? take_quoted(s) : take_token(s))) return false;
  }
  return true;
}

}  // namespace

Error H1Parser::ParseError::to_error(Side side) const {
  if (closed) return Error(Code::kClosed, reason, side, Retry::kIdempotentOnly);
  return Error(status == 431 || status == 414 ? Code::kTooLarge : Code::kProtocol, reason, side, Retry::kNever);
}

H1Parser::Event H1Parser::fail(int status, std::string_view reason) {
  error_.status = role_ == Role::kRequest ? status : 502;
  error_.reason = reason;
  state_ = State::kFailed;
  keep_alive_ = false;
  drop_line();
  return Event::kError;
}

void H1Parser::drop_line() {
  partial_.clear();
  line_is_partial_ = false;
}

// The next line without its CRLF. Looks for LF only in what is new, so a line in many pieces costs no more than one.
H1Parser::Line H1Parser::take_line(Bytes& in, size_t limit, Bytes& line) {
  if (in.empty()) return Line::kMore;
  if (partial_.empty()) {  // most often: all of the line is here, and its CR is the first control character
    size_t n = find_control(in.substr(0, limit + 1));
    if (n <= limit && n + 1 < in.size() && in[n] == '\r' && in[n + 1] == '\n') {
      line = in.substr(0, n);
      in.remove_prefix(n + 2);
      line_is_clean_ = true;
      return Line::kLine;
    }
  }
  line_is_clean_ = false;
  const void* found = std::memchr(in.data(), '\n', in.size());
  size_t n = found ? static_cast<size_t>(static_cast<const char*>(found) - in.data()) + 1 : in.size();
  if (partial_.size() + n > limit + 2) return Line::kTooLong;
  line = in.substr(0, n);
  in.remove_prefix(n);
  if (!found || !partial_.empty()) {
    partial_.append(line);
    if (!found) return Line::kMore;
    line = partial_.view();
    line_is_partial_ = true;
  }
  if (line.size() < 2 || line[line.size() - 2] != '\r') return Line::kBareLf;
  line.remove_suffix(2);
  return Line::kLine;
}

H1Parser::Event H1Parser::next(Bytes& in) {
  switch (state_) {
    case State::kStart: return on_start(in);
    case State::kFields: return on_fields(in);
    case State::kBody:
    case State::kChunkData: return on_body(in);
    case State::kChunkSize: return on_chunk_size(in);
    case State::kChunkCrlf: return on_chunk_crlf(in);
    case State::kTrailers: return on_trailers(in);
    case State::kUntilClose:
    case State::kTunnel:
      if (in.empty()) return Event::kNeedMore;
      data_ = in;
      in = {};
      return Event::kData;
    case State::kEnd: return end_message();
    case State::kHeld: return Event::kNeedMore;
    case State::kFailed: return Event::kError;
  }
  return Event::kError;
}

H1Parser::Event H1Parser::end_message() {
  expecting_ = false;
  state_ = hold_at_end_ ? State::kHeld : State::kStart;
  hold_at_end_ = false;
  return Event::kEnd;
}

H1Parser::Event H1Parser::finish_eof() {
  switch (state_) {
    case State::kUntilClose:
    case State::kTunnel:
    case State::kEnd: keep_alive_ = false; return end_message();
    case State::kHeld: return Event::kNeedMore;
    case State::kFailed: return Event::kError;
    case State::kStart:
      if (partial_.empty() && !expecting_) return Event::kNeedMore;
      break;
    default: break;
  }
  error_.closed = true;
  if (state_ == State::kStart && partial_.empty()) return fail(502, "the connection was closed before the response");
  if (state_ == State::kStart || state_ == State::kFields)
    return fail(400, "the connection was closed inside a message head");
  return fail(400, "the connection was closed inside a message body");
}

bool H1Parser::in_message() const {
  switch (state_) {
    case State::kStart: return !partial_.empty();
    case State::kHeld:
    case State::kTunnel:
    case State::kFailed: return false;
    default: return true;
  }
}

void H1Parser::expect_response_to(Method method, bool upgrade) {
  TULLE_CHECK(role_ == Role::kResponse);
  if (state_ != State::kStart || expecting_) {
    TULLE_BUG("a response was announced while another was due");
    return;
  }
  expecting_ = true;
  answers_ = method;
  answers_upgrade_ = upgrade;
  interims_ = 0;
}

void H1Parser::become_tunnel() {
  if (state_ != State::kHeld) {
    TULLE_BUG("become_tunnel on a connection that is not held");
    return;
  }
  state_ = State::kTunnel;
  framing_ = Framing::kTunnel;
}

void H1Parser::resume_http() {
  if (state_ == State::kHeld) state_ = State::kStart;
}

// ---- Start line

H1Parser::Event H1Parser::on_start(Bytes& in) {
  if (role_ == Role::kResponse && !expecting_ && !in.empty()) return fail(502, "response to no request");
  for (;;) {
    Bytes line;
    switch (take_line(in, limits_.request_line, line)) {
      case Line::kMore: return Event::kNeedMore;
      case Line::kBareLf: return fail(400, "LF without CR");
      case Line::kTooLong: return fail(414, cat("start line over ", limits_.request_line, " bytes"));
      case Line::kLine: break;
    }
    if (line.empty() && role_ == Role::kRequest && !empty_line_seen_) {  // RFC 9112 §2.2 allows one
      empty_line_seen_ = true;
      drop_line();
      continue;
    }
    empty_line_seen_ = false;
    block_used_ = 0;
    bool good = role_ == Role::kRequest ? request_line(line) : status_line(line);
    if (!good) return Event::kError;
    head_fields().clear();
    if (!in.empty()) head_fields().reserve(std::min<size_t>(in.size(), 1024));
    if (line_is_partial_) drop_line();
    state_ = State::kFields;
    return on_fields(in);
  }
}

bool H1Parser::parse_version(Bytes text, Version& version) {
  if (text == "HTTP/1.1") {
    version = Version::kHttp11;
  } else if (text == "HTTP/1.0") {
    version = Version::kHttp10;
  } else {
    bool well_formed =
        text.size() == 8 && text.starts_with("HTTP/") && is_digit(text[5]) && text[6] == '.' && is_digit(text[7]);
    if (well_formed) fail(505, "HTTP version is neither 1.0 nor 1.1");
    else fail(400, "malformed HTTP version in the start line");
    return false;
  }
  return true;
}

bool H1Parser::request_line(Bytes line) {
  size_t first = line.find(' ');
  size_t last = line.rfind(' ');
  if (first == Bytes::npos || first == last) return fail(400, "request line is not METHOD TARGET VERSION"), false;
  Bytes method = line.substr(0, first);
  if (!is_token(method)) return fail(400, "method is not a token"), false;
  if (!parse_version(line.substr(last + 1), request_.version)) return false;
  request_.set_method(method);
  request_.scheme.clear();
  request_.authority.clear();
  return request_target(line.substr(first + 1, last - first - 1));
}

bool H1Parser::request_target(Bytes target) {
  if (target.empty() || !is_target(target))
    return fail(400, "request target is empty or has a character that is not allowed"), false;
  if (request_.method_kind == Method::kConnect) {
    if (request_.version != Version::kHttp11 || !is_authority(target, /*port_required=*/true))
      return fail(400, "CONNECT wants HTTP/1.1 and a target of host:port"), false;
    request_.form = TargetForm::kAuthority;
    request_.authority = target;
    request_.path.clear();
    return true;
  }
  if (target[0] == '/') {
    request_.form = TargetForm::kOrigin;
    request_.path = target;
    return true;
  }
  if (target == "*" && request_.method_kind == Method::kOptions) {
    request_.form = TargetForm::kAsterisk;
    request_.path = target;
    return true;
  }
  size_t colon = target.find("://");
  if (colon == Bytes::npos || !is_scheme(target.substr(0, colon)))
    return fail(400, "request target is neither a path nor an absolute URI"), false;
  Bytes rest = target.substr(colon + 3);
  size_t path_at = std::min(rest.find_first_of("/?"), rest.size());
  if (!is_authority(rest.substr(0, path_at))) return fail(400, "request target has a bad authority"), false;
  request_.form = TargetForm::kAbsolute;
  request_.scheme = to_lower(target.substr(0, colon));
  request_.authority = rest.substr(0, path_at);
  Bytes path = rest.substr(path_at);
  if (path.empty()) request_.path = request_.method_kind == Method::kOptions ? "*" : "/";
  else if (path[0] == '?') request_.path.assign("/").append(path);
  else request_.path = path;
  return true;
}

bool H1Parser::status_line(Bytes line) {
  Bytes version = line.substr(0, 8);
  if (!parse_version(version, response_.version)) return false;
  Bytes rest = line.substr(8);
  auto status = rest.size() >= 4 && rest[0] == ' ' ? parse_number<uint16_t>(rest.substr(1, 3)) : std::nullopt;
  if (!status || *status < 100 || (rest.size() > 4 && rest[4] != ' ')) return fail(502, "malformed status line"), false;
  Bytes reason = rest.size() > 5 ? rest.substr(5) : Bytes();
  if (!line_is_clean_ && !is_field_value(reason)) return fail(502, "reason phrase has a control character"), false;
  response_.status = *status;
  response_.reason = reason;
  return true;
}

// ---- Fields

H1Parser::Event H1Parser::on_fields(Bytes& in) {
  for (;;) {
    Bytes line;
    switch (take_line(in, room_for_line(limits_.header_block, block_used_), line)) {
      case Line::kMore: return Event::kNeedMore;
      case Line::kBareLf: return fail(400, "LF without CR");
      case Line::kTooLong: return fail(431, cat("header fields over ", limits_.header_block, " bytes"));
      case Line::kLine: break;
    }
    bool last = line.empty();
    if (!last) {
      block_used_ += static_cast<uint32_t>(line.size()) + 2;
      if (!field_line(line, head_fields(), limits_.header_fields)) return Event::kError;
    }
    if (line_is_partial_) drop_line();
    if (last) return role_ == Role::kRequest ? finish_request_head() : finish_response_head();
  }
}

bool H1Parser::field_line(Bytes line, Headers& into, uint32_t max_fields) {
  char name[128];  // in lower case
  size_t n = 0;
  const size_t room = std::min(line.size(), sizeof name);
  for (char c; n < room && (c = token_lower(line[n])) != 0; ++n) name[n] = c;
  if (n == sizeof name)
    while (n < line.size() && token_lower(line[n])) ++n;
  if (n == 0 || n == line.size() || line[n] != ':') {
    bool blank = n < line.size() && (line[n] == ' ' || line[n] == '\t');
    if (blank && n == 0) fail(400, "folded header line");
    else if (blank) fail(400, "space before the colon of a header field");
    else fail(400, "header field name is empty or has a character that is not allowed");
    return false;
  }
  if (n > UINT16_MAX || into.size() >= max_fields)
    return fail(431, cat("more than ", max_fields, " header fields")), false;
  Bytes value = trim_blanks(line.substr(n + 1));
  if (!line_is_clean_ && !is_field_value(value)) return fail(400, "header field value has a control character"), false;
  if (n <= sizeof name) into.add_lower(Bytes(name, n), value);
  else into.add(line.substr(0, n), value);
  return true;
}

// What the fields say about framing, persistence and host; one pass.
struct H1Parser::HeadFacts {
  uint32_t lengths = 0, encodings = 0, hosts = 0;
  bool chunked = false, close = false, keep_alive = false, bad_length = false;
  uint64_t length = 0;
  Bytes host;
};

H1Parser::HeadFacts H1Parser::head_facts(const Headers& headers) {
  HeadFacts f;
  headers.for_each([&](const Header& h) {
    switch (h.id) {
      case HeaderId::kContentLength: {
        ++f.lengths;
        auto n = parse_number<uint64_t>(h.value);
        f.bad_length |= !n || *n > kMaxLength;
        f.length = n.value_or(0);
        break;
      }
      case HeaderId::kTransferEncoding:
        ++f.encodings;
        f.chunked = iequals(h.value, "chunked");
        break;
      case HeaderId::kHost:
        ++f.hosts;
        f.host = h.value;
        break;
      case HeaderId::kConnection:
        for_each_token(h.value, [&](std::string_view token) {
          f.close |= iequals(token, "close");
          f.keep_alive |= iequals(token, "keep-alive");
        });
        break;
      default: break;
    }
  });
  return f;
}

bool H1Parser::check_framing(const HeadFacts& f, Version version) {
  if (f.encodings && f.lengths) return fail(400, "Content-Length beside Transfer-Encoding"), false;
  if (f.lengths > 1) return fail(400, "more than one Content-Length"), false;
  if (f.bad_length) return fail(400, "Content-Length is not a whole number below 2^63"), false;
  if (f.encodings && version == Version::kHttp10) return fail(400, "Transfer-Encoding in HTTP/1.0"), false;
  if (f.encodings > 1) return fail(400, "more than one Transfer-Encoding"), false;
  if (f.encodings && !f.chunked) return fail(501, "Transfer-Encoding other than chunked"), false;
  keep_alive_ = !f.close && (version == Version::kHttp11 || f.keep_alive);
  return true;
}

H1Parser::Event H1Parser::finish_request_head() {
  HeadFacts f = head_facts(request_.headers);
  if (!check_framing(f, request_.version)) return Event::kError;
  if (f.hosts > 1) return fail(400, "more than one Host");
  if (f.hosts == 0 && request_.version == Version::kHttp11 && !limits_.allow_missing_host)
    return fail(400, "no Host in an HTTP/1.1 request");
  if (!f.host.empty()) {
    if (!is_authority(f.host)) return fail(400, "Host is not host[:port]");
    // The target wins over Host where it names an authority itself (RFC 9112 §3.2.2).
    if (request_.form == TargetForm::kOrigin || request_.form == TargetForm::kAsterisk) request_.authority = f.host;
  }
  bool connect = request_.method_kind == Method::kConnect;
  if (connect && (f.encodings || f.length)) return fail(400, "CONNECT with a body");
  hold_at_end_ = connect || is_upgrade(request_);
  begin_body(f);
  return Event::kRequest;
}

H1Parser::Event H1Parser::finish_response_head() {
  int status = response_.status;
  HeadFacts f = head_facts(response_.headers);
  if (!check_framing(f, response_.version)) return Event::kError;
  bool tunnel = (status == 101) || (answers_ == Method::kConnect && status / 100 == 2);
  if (status == 101 && (!answers_upgrade_ || response_.version == Version::kHttp10))
    return fail(502, "101 to a request that asked for no upgrade");
  if (status / 100 == 1 || status == 204 || tunnel) {  // may carry neither; RFC 9110 §8.6, RFC 9112 §6.1
    response_.headers.remove(HeaderId::kContentLength);
    response_.headers.remove(HeaderId::kTransferEncoding);
  }
  if (status / 100 == 1 && !tunnel) {
    if (++interims_ > limits_.interim_responses)
      return fail(502, cat("more than ", limits_.interim_responses, " interim responses"));
    state_ = State::kStart;
    return Event::kInterim;
  }
  if (tunnel) {
    framing_ = Framing::kTunnel;
    keep_alive_ = false;
    state_ = State::kTunnel;
  } else if (answers_ == Method::kHead || status == 204 || status == 304) {
    framing_ = Framing::kNone;
    state_ = State::kEnd;
    trailers_.clear();
  } else {
    begin_body(f);
  }
  return Event::kResponse;
}

// ---- Body

void H1Parser::begin_body(const HeadFacts& f) {
  trailers_.clear();
  content_length_ = left_ = f.length;
  if (f.chunked) {
    framing_ = Framing::kChunked;
    state_ = State::kChunkSize;
    extensions_used_ = 0;
  } else if (f.lengths) {
    framing_ = Framing::kLength;
    state_ = left_ ? State::kBody : State::kEnd;
  } else if (role_ == Role::kResponse) {
    framing_ = Framing::kUntilClose;
    keep_alive_ = false;
    state_ = State::kUntilClose;
  } else {
    framing_ = Framing::kNone;
    state_ = State::kEnd;
  }
}

H1Parser::Event H1Parser::on_body(Bytes& in) {
  if (in.empty()) return Event::kNeedMore;
  data_ = in.substr(0, std::min<uint64_t>(in.size(), left_));
  in.remove_prefix(data_.size());
  left_ -= data_.size();
  if (left_ == 0) state_ = state_ == State::kBody ? State::kEnd : State::kChunkCrlf;
  return Event::kData;
}

H1Parser::Event H1Parser::on_chunk_crlf(Bytes& in) {
  for (; !in.empty(); in.remove_prefix(1)) {
    if (in[0] == '\r' && !chunk_cr_seen_) {
      chunk_cr_seen_ = true;
    } else if (in[0] == '\n' && chunk_cr_seen_) {
      chunk_cr_seen_ = false;
      in.remove_prefix(1);
      state_ = State::kChunkSize;
      return on_chunk_size(in);
    } else {
      return fail(400, "chunk data is not followed by CRLF");
    }
  }
  return Event::kNeedMore;
}

H1Parser::Event H1Parser::on_chunk_size(Bytes& in) {
  Bytes line;
  switch (take_line(in, 16 + limits_.chunk_extension, line)) {
    case Line::kMore: return Event::kNeedMore;
    case Line::kBareLf: return fail(400, "LF without CR");
    case Line::kTooLong: return fail(400, "chunk size line is too long");
    case Line::kLine: break;
  }
  uint64_t size = 0;
  size_t n = 0;
  for (; n < line.size(); ++n) {
    int digit = hex_digit(line[n]);
    if (digit < 0) break;
    if (n == 16 || size > (kMaxLength >> 4)) return fail(400, "chunk size is too large");
    size = size << 4 | static_cast<uint64_t>(digit);
  }
  if (n == 0) return fail(400, "chunk size is not a hexadecimal number");
  Bytes extension = line.substr(n);
  if (!extension.empty()) {
    extensions_used_ += static_cast<uint32_t>(extension.size());
    if (extension.size() > limits_.chunk_extension || extensions_used_ > limits_.chunk_extensions)
      return fail(400, "chunk extensions are too long");
    if (!is_chunk_extension(extension)) return fail(400, "malformed chunk extension");
  }
  if (line_is_partial_) drop_line();
  if (size == 0) {
    state_ = State::kTrailers;
    block_used_ = 0;
    return on_trailers(in);
  }
  left_ = size;
  state_ = State::kChunkData;
  return on_body(in);
}

H1Parser::Event H1Parser::on_trailers(Bytes& in) {
  for (;;) {
    Bytes line;
    switch (take_line(in, room_for_line(limits_.trailer_block, block_used_), line)) {
      case Line::kMore: return Event::kNeedMore;
      case Line::kBareLf: return fail(400, "LF without CR");
      case Line::kTooLong: return fail(431, cat("trailer fields over ", limits_.trailer_block, " bytes"));
      case Line::kLine: break;
    }
    bool last = line.empty();
    if (!last) {
      block_used_ += static_cast<uint32_t>(line.size()) + 2;
      if (!field_line(line, trailers_, limits_.trailer_fields)) return Event::kError;
    }
    if (line_is_partial_) drop_line();
    if (!last) continue;
    if (trailers_.has(HeaderId::kContentLength) || trailers_.has(HeaderId::kTransferEncoding) ||
        trailers_.has(HeaderId::kHost))
      return fail(400, "Content-Length, Transfer-Encoding or Host among the trailers");
    trailers_.remove_if(is_forbidden_trailer);
    return end_message();
  }
}

}  // namespace tulle::http
