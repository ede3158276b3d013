#include <cstring>

#include "libs/base/check.h"
#include "libs/http/chars.h"
#include "libs/http/h1.h"

namespace tulle::http {
namespace {

// Writes into room that was measured before.
struct Writer {
  char* at;
  void put(std::string_view s) {
    if (s.empty()) return;  // memcpy wants no null
    std::memcpy(at, s.data(), s.size());
    at += s.size();
  }
  void field(std::string_view name, std::string_view value) {
    put(name);
    put(": ");
    put(value);
    put("\r\n");
  }
};

constexpr size_t kFieldExtra = 4;  // ": " and CRLF

Result<> check_field(const Header& h) {
  if (h.id == HeaderId::kOther && !is_token(h.name))
    return tulle::fail(Code::kInvalid, cat("header name ", quoted(h.name), " is not a token"));
  if (!is_field_value(h.value)) return tulle::fail(Code::kInvalid, cat("header ", h.name, " has a control character"));
  return {};
}

// The text that follows the fields of the head itself.
struct FramingField {
  char text[48];
  size_t size = 0;
  explicit FramingField(BodyFraming body) {
    std::string_view name;
    if (body.framing == Framing::kChunked) name = "transfer-encoding: chunked\r\n";
    else if (body.framing == Framing::kLength) name = "content-length: ";
    name.copy(text, name.size());
    size = name.size();
    if (body.framing != Framing::kLength) return;
    char* end = std::to_chars(text + size, text + sizeof text - 2, body.length).ptr;
    *end++ = '\r';
    *end++ = '\n';
    size = static_cast<size_t>(end - text);
  }
  std::string_view view() const { return {text, size}; }
};

// Fields that the encoder leaves out since it writes them itself.
struct Skip {
  bool host = false;
  bool length = true;
  bool operator()(const Header& h) const {
    return h.id == HeaderId::kTransferEncoding || (length && h.id == HeaderId::kContentLength) ||
           (host && h.id == HeaderId::kHost);
  }
};

Result<size_t> measure_fields(const Headers& headers, const Skip& skip) {
  size_t n = 0;
  Result<> status;
  headers.for_each([&](const Header& h) {
    if (!status || skip(h)) return;
    status = check_field(h);
    n += h.name.size() + h.value.size() + kFieldExtra;
  });
  if (!status) return tulle::fail(std::move(status).error());
  return n;
}

void write_fields(Writer& w, const Headers& headers, const Skip& skip) {
  headers.for_each([&](const Header& h) {
    if (!skip(h)) w.field(h.name, h.value);
  });
}

Result<> check_target(const RequestHead& head) {
  bool good = false;
  switch (head.form) {
    case TargetForm::kOrigin: good = is_path(head.path); break;
    case TargetForm::kAbsolute:
      good = (head.scheme.empty() || is_scheme(head.scheme)) && is_authority(head.authority) &&
             (is_path(head.path) || (head.path == "*" && head.method_kind == Method::kOptions));
      break;
    case TargetForm::kAuthority: good = is_authority(head.authority); break;
    case TargetForm::kAsterisk: good = head.path == "*"; break;
  }
  if (good && !head.authority.empty()) good = is_authority(head.authority);
  if ((head.method_kind == Method::kConnect) != (head.form == TargetForm::kAuthority)) good = false;
  if (good) return {};
  return tulle::fail(Code::kInvalid,
                     cat("request target ", quoted(head.path), " at ", quoted(head.authority), " cannot be written"));
}

}  // namespace

Result<> encode_request(const RequestHead& head, BodyFraming body, Buffer& out) {
  if (!is_token(head.method))
    return tulle::fail(Code::kInvalid, cat("method ", quoted(head.method), " is not a token"));
  if (body.framing == Framing::kUntilClose) return tulle::fail(Code::kInvalid, "a request body cannot end by closing");
  TULLE_TRY_VOID(check_target(head));
  // An HTTP/1.1 request has a Host, an empty one where there is no authority (RFC 9112 §3.2).
  bool no_host = (head.version != Version::kHttp10 || body.framing == Framing::kChunked) && head.authority.empty() &&
                 !head.headers.has(HeaderId::kHost);
  Skip skip{.host = !head.authority.empty() || no_host, .length = true};
  TULLE_TRY(size_t fields, measure_fields(head.headers, skip));

  std::string_view prefix, path = head.path;
  switch (head.form) {
    case TargetForm::kOrigin:
    case TargetForm::kAsterisk: break;
    case TargetForm::kAbsolute:
      prefix = head.scheme.empty() ? std::string_view("http") : std::string_view(head.scheme);
      if (path == "*") path = "";
      break;
    case TargetForm::kAuthority: path = head.authority; break;
  }
  // TE is of one connection, and Connection says so (RFC 9110 §10.1.4).
  std::string_view te = head.headers.has(HeaderId::kTe) ? "connection: te\r\n" : "";
  FramingField framing(body);
  size_t size = head.method.size() + 1 + (prefix.empty() ? 0 : prefix.size() + 3 + head.authority.size()) +
                path.size() + std::strlen(" HTTP/1.1\r\n") + (skip.host ? 4 + head.authority.size() + kFieldExtra : 0) +
                fields + te.size() + framing.size + 2;
  char* start = out.prepare(size);
  Writer w{start};
  w.put(head.method);
  w.put(" ");
  if (!prefix.empty()) {
    w.put(prefix);
    w.put("://");
    w.put(head.authority);
  }
  w.put(path);
  // A server of 1.0 may not know of chunks, and take them for its next request (RFC 9112 §6.1).
  bool old = head.version == Version::kHttp10 && body.framing != Framing::kChunked;
  w.put(old ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  if (skip.host) w.field("host", head.authority);
  write_fields(w, head.headers, skip);
  w.put(te);
  w.put(framing.view());
  w.put("\r\n");
  TULLE_CHECK(w.at == start + size);
  out.commit(size);
  return {};
}

Result<> encode_response(const ResponseHead& head, BodyFraming body, Buffer& out) {
  if (head.status < 100 || head.status > 999)
    return tulle::fail(Code::kInvalid, cat("status ", head.status, " is not 100 to 999"));
  std::string_view reason = head.reason.empty() ? reason_phrase(head.status) : std::string_view(head.reason);
  if (!is_field_value(reason)) return tulle::fail(Code::kInvalid, "reason phrase has a control character");
  bool keeps_length = body.framing == Framing::kNone && head.status >= 200 && head.status != 204;
  if (keeps_length) {
    auto length = head.headers.get(HeaderId::kContentLength);
    if (length && (head.headers.count(HeaderId::kContentLength) > 1 || !parse_number<uint64_t>(*length)))
      return tulle::fail(Code::kInvalid, "content-length is not one number");
  }
  Skip skip{.host = false, .length = !keeps_length};
  TULLE_TRY(size_t fields, measure_fields(head.headers, skip));

  FramingField framing(body);
  size_t size = std::strlen("HTTP/1.1 200 \r\n") + reason.size() + fields + framing.size + 2;
  char* start = out.prepare(size);
  Writer w{start};
  w.put(head.version == Version::kHttp10 ? "HTTP/1.0 " : "HTTP/1.1 ");
  for (int unit : {100, 10, 1}) *w.at++ = static_cast<char>('0' + head.status / unit % 10);
  w.put(" ");
  w.put(reason);
  w.put("\r\n");
  write_fields(w, head.headers, skip);
  w.put(framing.view());
  w.put("\r\n");
  TULLE_CHECK(w.at == start + size);
  out.commit(size);
  return {};
}

void encode_chunk_header(uint64_t n, Buffer& out) {
  TULLE_CHECK(n >= 1);
  char text[20];
  char* end = std::to_chars(text, text + 16, n, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  out.append(Bytes(text, static_cast<size_t>(end - text)));
}

void encode_chunk(Bytes data, Buffer& out) {
  if (data.empty()) return;
  encode_chunk_header(data.size(), out);
  out.append(data);
  out.append("\r\n");
}

Result<> encode_last_chunk(const Headers* trailers, Buffer& out) {
  size_t fields = 0;
  if (trailers) {
    Result<> status;
    trailers->for_each([&](const Header& h) {
      if (!status || is_forbidden_trailer(h)) return;
      status = check_field(h);
      fields += h.name.size() + h.value.size() + kFieldExtra;
    });
    if (!status) return status;
  }
  size_t size = 3 + fields + 2;
  char* start = out.prepare(size);
  Writer w{start};
  w.put("0\r\n");
  if (trailers) {
    trailers->for_each([&](const Header& h) {
      if (!is_forbidden_trailer(h)) w.field(h.name, h.value);
    });
  }
  w.put("\r\n");
  TULLE_CHECK(w.at == start + size);
  out.commit(size);
  return {};
}

bool is_forbidden_trailer(const Header& h) {
  switch (h.id) {
    case HeaderId::kHost:
    case HeaderId::kContentLength:
    case HeaderId::kTransferEncoding:
    case HeaderId::kConnection:
    case HeaderId::kUpgrade:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
    case HeaderId::kHttp2Settings:
    case HeaderId::kTe:
    case HeaderId::kTrailer:
    case HeaderId::kExpect:
    case HeaderId::kContentType:
    case HeaderId::kCookie: return true;
    case HeaderId::kOther: break;
    default: return h.name.starts_with("l5d-");  // what proxies say to each other
  }
  if (h.name.starts_with("l5d-")) return true;
  for (std::string_view name :
       {"authorization", "proxy-authorization", "proxy-authenticate", "www-authenticate", "set-cookie",
        "content-encoding", "content-range", "range", "max-forwards", "cache-control", "age", "location", "vary"})
    if (h.name == name) return true;
  return false;
}

}  // namespace tulle::http
