// Whether an application listens, told without connecting to it. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace tulle::cli {

// `tcp`, `tcp6`: contents of /proc/PID/net/tcp and tcp6. True when a connection to 127.0.0.1:`port` would be taken:
// something listens there, on 0.0.0.0 or on ::.
bool listens_on(std::string_view tcp, std::string_view tcp6, uint16_t port);

}  // namespace tulle::cli
