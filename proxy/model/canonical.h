// One form of a request's path in which it is matched, and the question whether other programs would read the path as
// another one (docs/http.md has the table). Pure. What is forwarded stays as the client sent it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace tulle::proxy {

// Of a path without query: what may stand in a path does (RFC 3986's pchar, "/" and ";"), all else is %XX in upper
// case.
// "%2F", "%3B", "%5C" and "%25" stay, for "/", ";", "\" and "%" would say something else. A view of `path` where that
// changes nothing, else of `storage`. A raw "\" becomes "%5C", "%" without two digits "%25".
std::string_view canonical_path(std::string_view path, std::string& storage);
// How many bytes of `path` the first `n` of its canonical form came from.
size_t bytes_sent(std::string_view path, size_t n);
// Whether "%00" stands before the query.
bool has_encoded_nul(std::string_view target);
// The host with %XX decoded.
std::string decoded_host(std::string_view host);

// Calls `see` with each other way in which programs are known to read a canonical path, until it returns false: "%3B"
// and
// "%5C" decoded; also "%2F"; also overlong UTF-8; also twice; and of each of these "\" as "/", ";…" taken off segments,
// empty segments dropped, "." and ".." resolved, in all combinations. At most 79 calls; none for most paths.
void each_other_reading(std::string_view canonical, const std::function<bool(std::string_view)>& see);

}  // namespace tulle::proxy
