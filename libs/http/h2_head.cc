#include "libs/http/h2_head.h"

#include "libs/http/chars.h"
#include "libs/http/h1.h"
#include "libs/http/h2.h"

namespace tulle::http {

std::string_view h2_code_name(H2Code code) {
  switch (code) {
    case H2Code::kNoError: return "NO_ERROR";
    case H2Code::kProtocolError: return "PROTOCOL_ERROR";
    case H2Code::kInternalError: return "INTERNAL_ERROR";
    case H2Code::kFlowControlError: return "FLOW_CONTROL_ERROR";
    case H2Code::kSettingsTimeout: return "SETTINGS_TIMEOUT";
    case H2Code::kStreamClosed: return "STREAM_CLOSED";
    case H2Code::kFrameSizeError: return "FRAME_SIZE_ERROR";
    case H2Code::kRefusedStream: return "REFUSED_STREAM";
    case H2Code::kCancel: return "CANCEL";
    case H2Code::kCompressionError: return "COMPRESSION_ERROR";
    case H2Code::kConnectError: return "CONNECT_ERROR";
    case H2Code::kEnhanceYourCalm: return "ENHANCE_YOUR_CALM";
    case H2Code::kInadequateSecurity: return "INADEQUATE_SECURITY";
    case H2Code::kHttp11Required: return "HTTP_1_1_REQUIRED";
  }
  return "UNKNOWN";
}

namespace {

// Fields of one connection that HTTP/2 forbids (RFC 9113 §8.2.2).
bool is_connection_field(HeaderId id) {
  switch (id) {
    case HeaderId::kConnection:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
    case HeaderId::kTransferEncoding:
    case HeaderId::kUpgrade: return true;
    default: return false;
  }
}

bool is_edge_blank(std::string_view value) {
  auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  return !value.empty() && (is_blank(value.front()) || is_blank(value.back()));
}

// Several cookie fields are one list (RFC 9113 §8.2.3); HTTP/1 knows only one.
void join_cookies(Headers& headers) {
  std::string all;
  headers.for_each([&](const Header& h) {
    if (h.id != HeaderId::kCookie) return;
    if (!all.empty()) all += "; ";
    all += h.value;
  });
  headers.set(HeaderId::kCookie, all);
}

}  // namespace

bool is_h2_name(std::string_view name) {
  for (char c : name)
    if (token_lower(c) != c || c == 0) return false;
  return !name.empty() && name.size() <= UINT16_MAX;
}

bool is_h2_value(std::string_view value) { return is_field_value(value) && !is_edge_blank(value); }

void H2HeadReader::begin(Kind kind, uint32_t max_bytes, uint32_t max_fields) {
  kind_ = kind;
  seen_ = 0;
  regular_seen_ = false;
  cookies_ = 0;
  fields_ = 0;
  bytes_ = 0;
  max_bytes_ = max_bytes;
  max_fields_ = max_fields;
  wrong_ = {};
  fields().clear();
  fields().reserve(256);
  if (kind == Kind::kRequest) {
    request.version = Version::kHttp2;
    request.method.clear();
    request.scheme.clear();
    request.authority.clear();
    request.path.clear();
  } else if (kind == Kind::kResponse) {
    response.version = Version::kHttp2;
    response.reason.clear();
  }
}

void H2HeadReader::add(const HpackField& field) {
  bytes_ += field.name.size() + field.value.size() + 32;
  ++fields_;
  if (!wrong_.empty() || too_large()) return;
  if (!field.name.empty() && field.name[0] == ':') add_pseudo(field.name, field.value);
  else add_regular(field);
}

void H2HeadReader::add_pseudo(std::string_view name, std::string_view value) {
  if (regular_seen_) return wrong("pseudo-header after a regular field");
  auto take = [&](Seen which, std::string& into) {
    if (seen_ & which) return wrong("repeated pseudo-header");
    seen_ |= which;
    into = value;
  };
  if (kind_ == Kind::kRequest) {
    if (name == ":method") return take(kMethod, request.method);
    if (name == ":scheme") return take(kScheme, request.scheme);
    if (name == ":authority") return take(kAuthority, request.authority);
    if (name == ":path") return take(kPath, request.path);
  } else if (kind_ == Kind::kResponse && name == ":status") {
    auto status = value.size() == 3 ? parse_number<uint16_t>(value) : std::nullopt;
    if ((seen_ & kStatus) || !status || *status < 100 || *status == 101) return wrong("bad :status");
    seen_ |= kStatus;
    response.status = *status;
    return;
  }
  wrong(kind_ == Kind::kTrailers ? "pseudo-header among trailers" : "unknown pseudo-header");
}

void H2HeadReader::add_regular(const HpackField& field) {
  regular_seen_ = true;
  auto [id, good, name, value] = field;
  if (!good && id == HeaderId::kOther && !is_h2_name(name)) return wrong("field name is not a lower-case token");
  if (!good && !is_h2_value(value)) return wrong("field value has a control character or blanks at an end");
  if (is_connection_field(id)) return wrong("connection-specific field");
  switch (id) {
    case HeaderId::kTe:
      if (!iequals(value, "trailers")) return wrong("te other than trailers");
      break;
    case HeaderId::kCookie:
      if (cookies_ < 2) ++cookies_;
      break;
    case HeaderId::kContentLength:
      if (kind_ == Kind::kTrailers) return wrong("content-length among trailers");
      if (fields().has(id)) return wrong("more than one content-length");
      if (auto n = parse_number<uint64_t>(value); !n || *n > INT64_MAX)
        return wrong("content-length is not a number below 2^63");
      break;
    case HeaderId::kHost:
      if (kind_ != Kind::kRequest) break;
      if (fields().has(id)) return wrong("more than one host");
      break;
    default: break;
  }
  fields().add_known(id, name, value);
}

std::string_view H2HeadReader::finish() {
  if (wrong_.empty() && !too_large()) {
    if (kind_ == Kind::kRequest) finish_request();
    if (kind_ == Kind::kResponse && !(seen_ & kStatus)) wrong("no :status");
    if (kind_ == Kind::kTrailers) trailers.remove_if(is_forbidden_trailer);
  }
  return wrong_;
}

void H2HeadReader::finish_request() {
  RequestHead& r = request;
  if (!is_token(r.method)) return wrong("no :method, or not a token");
  r.set_method(r.method);
  if (!r.authority.empty() && !is_authority(r.authority)) return wrong(":authority is not host[:port]");
  if (auto host = r.headers.get(HeaderId::kHost)) {
    if (!host->empty() && !is_authority(*host)) return wrong("host is not host[:port]");
    if (r.authority.empty()) r.authority = *host;
    else if (!iequals(r.authority, *host)) return wrong("host differs from :authority");
    r.headers.remove(HeaderId::kHost);
  }
  if (r.method_kind == Method::kConnect) {
    if ((seen_ & (kScheme | kPath)) || r.authority.empty())
      return wrong("CONNECT wants :authority, and no :scheme or :path");
    r.form = TargetForm::kAuthority;
  } else {
    if (!is_scheme(r.scheme)) return wrong("no :scheme, or a bad one");
    bool asterisk = r.path == "*" && r.method_kind == Method::kOptions;
    if (!asterisk && !is_path(r.path))
      return wrong("no :path, or one that does not start with / or has a bad character");
    r.form = asterisk ? TargetForm::kAsterisk : TargetForm::kOrigin;
  }
  if (cookies_ > 1) join_cookies(r.headers);
}

namespace {

Result<> add_fields(const Headers& headers, bool trailers, H2Fields& out) {
  Result<> status;
  headers.for_each([&](const Header& h) {
    if (!status || is_connection_field(h.id) || h.id == HeaderId::kHost || h.id == HeaderId::kHttp2Settings) return;
    if (h.id == HeaderId::kTe && !iequals(h.value, "trailers")) return;
    if (trailers && is_forbidden_trailer(h)) return;
    if (h.id == HeaderId::kOther && !is_h2_name(h.name))
      status = fail(Code::kInvalid, cat("header name ", quoted(h.name), " cannot be sent"));
    else if (!is_field_value(h.value))
      status = fail(Code::kInvalid, cat("header ", h.name, " has a control character"));
    else out.push_back({h.id, 0, h.name, is_edge_blank(h.value) ? trim(h.value) : h.value});
  });
  return status;
}

}  // namespace

Result<> h2_fields_of(const RequestHead& head, H2Fields& out) {
  if (!is_token(head.method)) return fail(Code::kInvalid, cat("method ", quoted(head.method), " is not a token"));
  std::string_view authority = head.authority;
  if (authority.empty()) authority = head.headers.get(HeaderId::kHost).value_or("");
  if (!authority.empty() && !is_authority(authority))
    return fail(Code::kInvalid, cat("authority ", quoted(authority), " cannot be sent"));
  uint8_t exact = head.method_kind == Method::kGet ? 2 : head.method_kind == Method::kPost ? 3 : 0;
  out.push_back({HeaderId::kOther, exact, ":method", head.method});
  if (head.method_kind == Method::kConnect) {
    if (authority.empty()) return fail(Code::kInvalid, "CONNECT without an authority");
  } else {
    std::string_view scheme = head.scheme.empty() ? std::string_view("http") : std::string_view(head.scheme);
    if (!is_scheme(scheme)) return fail(Code::kInvalid, cat("scheme ", quoted(scheme), " cannot be sent"));
    if (!is_path(head.path) && !(head.path == "*" && head.method_kind == Method::kOptions))
      return fail(Code::kInvalid, cat("path ", quoted(head.path), " cannot be sent"));
    exact = scheme == "http" ? 6 : scheme == "https" ? 7 : 0;
    out.push_back({HeaderId::kOther, exact, ":scheme", scheme});
  }
  if (!authority.empty()) out.push_back({HeaderId::kOther, 0, ":authority", authority});
  if (head.method_kind != Method::kConnect)
    out.push_back({HeaderId::kOther, static_cast<uint8_t>(head.path == "/" ? 4 : 0), ":path", head.path});
  return add_fields(head.headers, false, out);
}

Result<> h2_fields_of(const ResponseHead& head, char* status_text, H2Fields& out) {
  if (head.status < 100 || head.status > 999 || head.status == 101)
    return fail(Code::kInvalid, cat("status ", head.status, " cannot be sent"));
  status_text[0] = static_cast<char>('0' + head.status / 100);
  status_text[1] = static_cast<char>('0' + head.status / 10 % 10);
  status_text[2] = static_cast<char>('0' + head.status % 10);
  out.push_back({HeaderId::kOther, static_cast<uint8_t>(head.status == 200 ? 8 : 0), ":status", {status_text, 3}});
  return add_fields(head.headers, false, out);
}

Result<> h2_fields_of_trailers(const Headers& trailers, H2Fields& out) { return add_fields(trailers, true, out); }

}  // namespace tulle::http
