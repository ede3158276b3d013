// A resolv.conf of any kind: at most so many servers as a resolver asks, each with a port.
#include <cstdint>

#include "libs/base/check.h"
#include "proxy/discovery/pod_dns.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const auto& server : tulle::proxy::nameservers({reinterpret_cast<const char*>(data), size}))
    TULLE_CHECK(server.port == 53 && tulle::SocketAddr::parse(server.to_string()).has_value());
  return 0;
}
