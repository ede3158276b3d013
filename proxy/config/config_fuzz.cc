// The environment of a proxy, one NAME=VALUE in each line, over the least that one needs: a configuration or an error
// that says which variable is wrong.
#include <cstdint>
#include <map>
#include <string>

#include "libs/base/check.h"
#include "libs/base/strings.h"
#include "proxy/config/env.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle;
  using namespace tulle::proxy;
  std::map<std::string, std::string, std::less<>> vars = {
      {"LINKERD2_PROXY_DESTINATION_SVC_ADDR", "127.0.0.1:8086"},
      {"LINKERD2_PROXY_POLICY_SVC_ADDR", "127.0.0.1:8090"},
      {"LINKERD2_PROXY_IDENTITY_SVC_ADDR", "localhost:8080"},
      {"LINKERD2_PROXY_IDENTITY_DIR", "/var/run/identity"},
      {"LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
      {"LINKERD2_PROXY_IDENTITY_TOKEN_FILE", "/var/run/token"},
      {"LINKERD2_PROXY_IDENTITY_LOCAL_NAME", "web.default.serviceaccount.identity.linkerd.cluster.local"},
      {"LINKERD2_PROXY_POLICY_WORKLOAD", "default:web"},
  };
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (std::string_view line : split(text, '\n')) {
    size_t equals = line.find('=');
    if (equals == line.npos) vars.erase(Env::full_name(line));
    else vars[Env::full_name(line.substr(0, equals))] = line.substr(equals + 1);
  }
  auto config = parse_config([&](std::string_view name) -> std::optional<std::string> {
    auto it = vars.find(name);
    return it == vars.end() ? std::nullopt : std::optional(it->second);
  });
  if (!config) TULLE_CHECK(!config.error().reason.empty());
  return 0;
}
