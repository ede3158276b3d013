// Lines of the inbound access log, in the two formats of LINKERD2_PROXY_ACCESS_LOG. Pure functions; the caller writes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libs/base/time.h"

namespace tulle::observe {

enum class AccessLogFormat : uint8_t { kApache, kJson };

// One exchange, once its response's headers are known or it has failed.
struct AccessRecord {
  std::string_view client_addr;  // IP:PORT
  std::string_view client_id;    // "" without an identity
  WallTime at;                   // when the request's headers were received
  std::string_view method;
  std::string_view uri;
  std::string_view version;         // "HTTP/1.1", "HTTP/2.0"
  std::string_view trace_id;        // first of x-b3-traceid, x-request-id, x-amzn-trace-id
  std::string_view request_bytes;   // the content-length header of the request, "" without one
  std::string_view response_bytes;  // the same of the response
  std::optional<uint16_t> status;   // nothing when the request failed without a response
  Duration total{};                 // from the request's headers to the response's
  Duration processing{};            // of that, the time spent in the proxy
  std::string_view user_agent;
  std::string_view host;
};

// One line without its end. Bytes from outside are escaped: quotes, backslashes, control characters, invalid UTF-8.
std::string access_log_line(const AccessRecord& record, AccessLogFormat format);

}  // namespace tulle::observe
