// Fields that belong to one connection and may not be forwarded (RFC 9110 §7.6.1).
#pragma once

#include <string_view>

#include "libs/http/message.h"

namespace tulle::http {

// An HTTP/1.1 request that asks for another protocol and could get it: Connection names upgrade and Upgrade names
// something other than h2c (which a proxy does not pass on; RFC 9113 deprecates it).
bool is_upgrade(const RequestHead& request);
// A response that switches: 101 with Connection: upgrade and Upgrade.
bool is_upgrade(const ResponseHead& response);

// Removes Connection and the fields it names, Keep-Alive, Proxy-Connection, HTTP2-Settings, Upgrade, and TE but for
// "trailers". A Connection that names Host, Content-Length, Transfer-Encoding or another field that the message
// cannot do without does not remove it. keep_upgrade: the message is a real upgrade; "connection: upgrade" and
// Upgrade stay. Transfer-Encoding and Trailer stay: the encoder decides about framing.
void strip_hop_by_hop(Headers& headers, bool keep_upgrade = false);

// Calls f(std::string_view) for each non-empty item of a comma-separated value, blanks taken off.
template <class F>
void for_each_token(std::string_view value, F&& f) {
  while (!value.empty()) {
    size_t comma = value.find(',');
    std::string_view item = trim(value.substr(0, comma));
    if (!item.empty()) f(item);
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
}

// Whether a comma-separated field, in any of its lines, has this token (any case).
bool has_token(const Headers& headers, HeaderId id, std::string_view token);

}  // namespace tulle::http
