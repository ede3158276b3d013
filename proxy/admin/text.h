// Private to proxy/admin: forms that answers take.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tulle::proxy {

// A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view s);

// The variables as a JSON object. `query` ("A&B"): only those, null where unset; empty: all. Nothing when the query has
// a '='.
std::optional<std::string> environment_json(const std::vector<std::pair<std::string, std::string>>& environment,
                                            std::string_view query);

// The same bytes in gzip's format (RFC 1952).
std::string gzip(std::string_view bytes);

}  // namespace tulle::proxy
