// Inbound policy (io.linkerd.proxy.inbound): who may send what to one port of a workload.
// See types.h for the rules of encode and decode.
#pragma once

#include "libs/wire/types.h"

namespace tulle::wire {

inline constexpr std::string_view kInboundPoliciesGetPort = "/io.linkerd.proxy.inbound.InboundServerPolicies/GetPort";
inline constexpr std::string_view kInboundPoliciesWatchPort =
    "/io.linkerd.proxy.inbound.InboundServerPolicies/WatchPort";

struct PortSpec {
  std::string workload;  // {"ns": …, "pod": …}
  uint16_t port = 0;     // ≥ 1
  bool operator==(const PortSpec&) const = default;
};

struct Network {
  Cidr net;
  std::vector<Cidr> except;
  bool operator==(const Network&) const = default;
};

// Clients from any of the networks that also pass `authn` are allowed.
struct Authz {
  // kUnknown (a kind from a newer control plane, or none) allows nobody.
  enum class Authn : uint8_t { kUnknown, kUnauthenticated, kTlsUnauthenticated, kTlsIdentities };
  std::vector<Network> networks;
  Authn authn = Authn::kUnknown;
  std::vector<std::string> identities;  // kTlsIdentities: exact names
  std::vector<std::string> suffixes;    // kTlsIdentities: "a.b" allows "x.a.b", "" any identity
  Labels labels;
  Metadata metadata;  // of an old control plane that sends none: from the labels
  bool operator==(const Authz&) const = default;
};

struct InboundRule {
  std::vector<RouteMatch> matches;  // any of them; none: everything
  std::vector<Filter> filters;
  bool operator==(const InboundRule&) const = default;
};

struct InboundRoute {
  Metadata metadata;
  std::vector<HostMatch> hosts;
  std::vector<Authz> authorizations;  // beside those of the server
  std::vector<InboundRule> rules;
  bool operator==(const InboundRoute&) const = default;
};

// Requests per second; 0: no such limit.
struct RateLimit {
  struct Override {
    uint32_t rps = 0;
    std::vector<std::string> identities;
    bool operator==(const Override&) const = default;
  };
  Metadata metadata;
  uint32_t total_rps = 0;
  uint32_t identity_rps = 0;
  std::vector<Override> overrides;
  bool operator==(const RateLimit&) const = default;
};

struct Server {
  enum class Kind : uint8_t { kDetect, kOpaque, kTls, kHttp1, kHttp2, kGrpc };
  Kind kind = Kind::kDetect;
  Duration detect_timeout = 10s;        // kDetect
  std::vector<InboundRoute> routes;     // HTTP routes; of kGrpc: gRPC routes; of kOpaque and kTls: none
  std::optional<RateLimit> rate_limit;  // kDetect, kHttp1, kHttp2
  std::vector<IpAddr> server_ips;
  std::vector<Authz> authorizations;
  Labels labels;  // group, kind, name of the Server (kind "default" where there is none)
  bool operator==(const Server&) const = default;
};

std::string encode(const PortSpec& v);
std::string encode(const Server& v);
Result<PortSpec> decode_port_spec(Bytes bytes);
Result<Server> decode_server(Bytes bytes);

}  // namespace tulle::wire
