// The bodies and targets of the JSON API, of discovery, of annotations, and the addresses that are kept on disk.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "control/api/query.h"
#include "control/destination/destination.h"
#include "control/identity/token.h"
#include "control/index/addresses.h"
#include "control/index/ports.h"
#include "control/index/traits.h"
#include "libs/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::control;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_register_request(text);
  (void)parse_ready(text);
  (void)query_value(split_query(text).query, "target");
  (void)parse_policy_target(text, "cluster.local", "");
  (void)parse_workload_token(text);
  (void)parse_target(text, "cluster.local");
  (void)parse_port_set(text);
  ServiceAddresses addresses(*tulle::Cidr::parse("127.96.0.0/11")), again = addresses;
  if (addresses.load(text)) {
    TULLE_CHECK(again.load(addresses.save()) && again.save() == addresses.save());
    TULLE_CHECK(again.assign({"default", "new"}, 1).has_value());
  }
  (void)check_token("0123456789abcdef0123456789abcdef", text, {});
  return 0;
}
