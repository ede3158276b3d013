#include "libs/http/hop_by_hop.h"

#include "absl/container/inlined_vector.h"

namespace tulle::http {
namespace {

// "connection: upgrade" beside "upgrade: PROTOCOL", where the protocol is not h2c.
bool names_upgrade(const Headers& headers) {
  auto protocol = headers.get(HeaderId::kUpgrade);
  return protocol && !protocol->empty() && !has_token(headers, HeaderId::kUpgrade, "h2c") &&
         has_token(headers, HeaderId::kConnection, "upgrade");
}

// What a Connection field may not take away: the message would mean something else without it.
bool is_essential(HeaderId id) {
  switch (id) {
    case HeaderId::kHost:
    case HeaderId::kContentLength:
    case HeaderId::kTransferEncoding:
    case HeaderId::kContentType:
    case HeaderId::kTe:  // handled below
    case HeaderId::kCookie:
    case HeaderId::kExpect:
    case HeaderId::kDate:
    case HeaderId::kGrpcStatus:
    case HeaderId::kGrpcMessage:
    case HeaderId::kGrpcTimeout: return true;
    default: return false;
  }
}

}  // namespace

bool has_token(const Headers& headers, HeaderId id, std::string_view token) {
  bool found = false;
  if (!headers.maybe(id)) return found;
  headers.for_each([&](const Header& h) {
    if (h.id == id) for_each_token(h.value, [&](std::string_view item) { found |= iequals(item, token); });
  });
  return found;
}

bool is_upgrade(const RequestHead& request) {
  return request.version == Version::kHttp11 && names_upgrade(request.headers);
}

bool is_upgrade(const ResponseHead& response) {
  return response.status == 101 && response.version == Version::kHttp11 && names_upgrade(response.headers);
}

void strip_hop_by_hop(Headers& headers, bool keep_upgrade) {
  constexpr HeaderId kOwn[] = {HeaderId::kConnection,    HeaderId::kKeepAlive, HeaderId::kProxyConnection,
                               HeaderId::kHttp2Settings, HeaderId::kTe,        HeaderId::kUpgrade};
  bool none = !keep_upgrade;
  for (HeaderId id : kOwn) none &= !headers.maybe(id);
  if (none) return;
  // Lower-cased copies: what Connection names goes first, and its own text with it.
  absl::InlinedVector<std::string, 4> named;
  headers.for_each([&](const Header& h) {
    if (h.id != HeaderId::kConnection) return;
    for_each_token(h.value, [&](std::string_view token) {
      if (!iequals(token, "close") && !iequals(token, "keep-alive") && !iequals(token, "upgrade") && named.size() < 64)
        named.push_back(to_lower(token));
    });
  });
  for (const std::string& name : named)
    if (!is_essential(header_id(name))) headers.remove(name);

  bool trailers_wanted = has_token(headers, HeaderId::kTe, "trailers");
  headers.remove_if([&](const Header& h) {
    switch (h.id) {
      case HeaderId::kConnection:
      case HeaderId::kKeepAlive:
      case HeaderId::kProxyConnection:
      case HeaderId::kHttp2Settings:
      case HeaderId::kTe: return true;
      case HeaderId::kUpgrade: return !keep_upgrade;
      default: return false;
    }
  });
  if (trailers_wanted) headers.add(HeaderId::kTe, "trailers");
  if (keep_upgrade) headers.add(HeaderId::kConnection, "upgrade");
}

}  // namespace tulle::http
