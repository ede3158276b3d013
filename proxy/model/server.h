// The inbound policy of one port as the request path wants it: compiled once, immutable, published to workers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/wire/inbound.h"
#include "proxy/model/authorize.h"
#include "proxy/model/errors.h"
#include "proxy/model/route.h"

namespace tulle::proxy {

struct InboundRule {
  std::vector<wire::Filter> filters;
};
struct InboundRoute {
  wire::Metadata metadata;
  std::vector<Authorization> authorizations;
  std::vector<InboundRule> rules;
};

struct ServerPolicy {
  using Kind = wire::Server::Kind;
  Kind kind = Kind::kDetect;
  Duration detect_timeout = 10s;
  wire::Metadata server;  // group, kind, name: labels srv_*
  // Of the port, with localhost's. A connection is allowed by these; a request by these or its route's.
  std::vector<Authorization> authorizations;
  RouteTable table;
  std::vector<InboundRoute> routes;  // as RuleMatch counts them; never empty for kinds with requests
  std::optional<wire::RateLimit> rate_limit;
  bool audit = false;   // default policy `audit`: allow, log and count what other policies would have denied
  std::string invalid;  // set: HTTP is answered with `invalid_reason`, others are refused
  Reason invalid_reason = Reason::kInvalidPolicy;

  // Somebody has written routes for the port, and not only the default one is there.
  bool has_routes() const;
};
using ServerPolicyPtr = std::shared_ptr<const ServerPolicy>;

// Never fails: what cannot be used gives a policy with `invalid` set, which allows nothing.
// `pod_ip`: of a rootless pod, see localhost_authz.
ServerPolicyPtr compile_server(const wire::Server& server, std::optional<IpAddr> pod_ip = std::nullopt);
ServerPolicyPtr invalid_server(std::string why);
// For a port about which the control plane has said nothing in time: allows nothing, with kNoDiscovery.
ServerPolicyPtr unanswered_server();

// Linkerd's default policies (LINKERD2_PROXY_INBOUND_DEFAULT_POLICY): deny, audit, {all,cluster}-{unauthenticated,
// authenticated,tls-unauthenticated (mesh TLS, any client)}. Nothing: not one of these. `detect_timeout` is for the
// port; `opaque`: no detection.
std::optional<wire::Server> default_server(std::string_view name, const std::vector<Cidr>& cluster_networks,
                                           Duration detect_timeout, bool opaque);

}  // namespace tulle::proxy
