// The bodies and targets of the JSON API, of discovery, and of annotations.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "control/api/query.h"
#include "control/destination/destination.h"
#include "control/identity/token.h"
#include "control/index/ports.h"
#include "control/index/traits.h"

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
  (void)check_token("0123456789abcdef0123456789abcdef", text, {});
  return 0;
}
