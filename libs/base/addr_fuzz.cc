// Addresses, durations, base64 and log filters from outside: what is accepted prints as something that is accepted and
// equal.
#include <cstdint>

#include "libs/base/addr.h"
#include "libs/base/check.h"
#include "libs/base/log.h"
#include "libs/base/strings.h"
#include "libs/base/time.h"
#include "libs/base/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto a = IpAddr::parse(text)) TULLE_CHECK(*IpAddr::parse(a->to_string()) == *a);
  if (auto a = SocketAddr::parse(text)) TULLE_CHECK(*SocketAddr::parse(a->to_string()) == *a);
  if (auto n = Cidr::parse(text)) TULLE_CHECK(*Cidr::parse(n->to_string()) == *n && n->contains(n->ip()));
  if (auto h = split_host_port(text)) TULLE_CHECK(!h->host.empty() && h->host.size() <= text.size());
  if (auto d = parse_duration(text)) TULLE_CHECK(*d >= 0s && *parse_duration(format_duration(*d)) == *d);
  if (auto b = unbase64(text)) TULLE_CHECK(*unbase64(base64(*b)) == *b);
  if (auto ok = log_check_filter(text); !ok) TULLE_CHECK(!ok.error().reason.empty());
  for (std::string_view rest = text; !rest.empty();) {
    size_t n = utf8_size(rest);
    TULLE_CHECK(n <= 4 && n <= rest.size());
    rest.remove_prefix(n ? n : 1);
  }
  return 0;
}
