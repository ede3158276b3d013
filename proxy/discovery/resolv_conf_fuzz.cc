// A resolv.conf of any kind: at most so many servers as a resolver asks, each with a port. The same bytes as what comes
// over TCP from a server, and as the target of an SRV record.
#include <cstdint>

#include "libs/base/check.h"
#include "proxy/discovery/control_client.h"
#include "proxy/discovery/dns_forward.h"
#include "proxy/discovery/pod_dns.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& server : tulle::proxy::nameservers(text))
    TULLE_CHECK(server.port == 53 && tulle::SocketAddr::parse(server.to_string()).has_value());
  if (auto message = tulle::proxy::sized_message(text)) {
    std::string again = tulle::proxy::with_size(*message);
    TULLE_CHECK(text.starts_with(again) && tulle::proxy::sized_message(again) == *message);
  }
  (void)tulle::proxy::address_in_name(text);
  return 0;
}
