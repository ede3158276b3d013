// Label sets of metric series, in the exact names and order of Linkerd's proxy (docs/metrics.md).
//
// A Labels value is built once, when a route or an endpoint is built, and holds the escaped text between the braces
// of the exposition format. Values may come from outside: they are escaped, made valid UTF-8 and cut to kMaxValue.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tulle::observe {

class Labels {
 public:
  static constexpr size_t kMaxValue = 512;  // bytes of one value before escaping; the rest is cut

  // `name`: characters outside [a-zA-Z0-9_] become '_'. `value`: any bytes.
  Labels& add(std::string_view name, std::string_view value);
  Labels& add(std::string_view name, uint64_t value);

  // `a="b",c="d"`; "" without labels.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// What is known of the TLS of a connection.
struct TlsState {
  enum class Kind : uint8_t { kMutual, kNoIdentity, kOpaque, kDisabled };
  Kind kind = Kind::kDisabled;
  std::string detail;  // kMutual: the peer's identity, "" if none; kNoIdentity: the reason; kOpaque: the SNI

  static TlsState mutual(std::string identity) { return {Kind::kMutual, std::move(identity)}; }
  // `reason`: loopback, port_skipped, no_tls_from_remote, not_provided_by_service_discovery, ingress_without_override.
  static TlsState no_identity(std::string reason) { return {Kind::kNoIdentity, std::move(reason)}; }
  static TlsState opaque(std::string sni) { return {Kind::kOpaque, std::move(sni)}; }
  static TlsState disabled() { return {}; }
};

// A policy resource as labels name it: kind "server", "httproute", "default", …
struct ResourceRef {
  std::string group{};
  std::string kind{};
  std::string name_space{};
  std::string name{};
  uint16_t port = 0;  // 0: the port label is ""
  std::string section_name{};
};

// TLS-in: tls, client_id | no_tls_reason | sni.
void add_tls_client(Labels& labels, const TlsState& tls);
// TLS-out: tls, server_id | no_tls_reason.
void add_tls_server(Labels& labels, const TlsState& tls);
// target_addr, target_ip, target_port. `ip` without brackets.
void add_target(Labels& labels, std::string_view ip, uint16_t port);
// SRV: srv_group, srv_kind, srv_name, srv_port.
void add_server(Labels& labels, const ResourceRef& server);
// PREFIX_group, PREFIX_kind, PREFIX_name: inbound routes ("route"), authorizations ("authz"), rate limits
// ("ratelimit").
void add_resource(Labels& labels, std::string_view prefix, const ResourceRef& ref);
// PARENT: parent_group, _kind, _namespace, _name, _port, _section_name.
void add_parent(Labels& labels, const ResourceRef& parent);
// ROUTE: route_group, _kind, _namespace, _name.
void add_route(Labels& labels, const ResourceRef& route);
// BACKEND: backend_group, _kind, _namespace, _name, _port, _section_name.
void add_backend(Labels& labels, const ResourceRef& backend);

// IN-EP. `authority`: only where LINKERD2_PROXY_UNSAFE_AUTHORITY_LABELS asks for it, else "".
Labels inbound_endpoint(std::string_view authority, std::string_view ip, uint16_t port, const TlsState& tls,
                        const ResourceRef& server, const ResourceRef& route, const ResourceRef& authz);
// OUT-EP. `dst`: the labels of discovery, each given as dst_KEY.
Labels outbound_endpoint(std::string_view authority, std::string_view ip, uint16_t port, const TlsState& tls,
                         const std::vector<std::pair<std::string, std::string>>& dst);
// The labels of the tcp_… families. Outbound, source side: always plain and from loopback.
Labels outbound_tcp_source(std::string_view ip, uint16_t port);
Labels outbound_tcp_destination(std::string_view authority, std::string_view ip, uint16_t port, const TlsState& tls,
                                const std::vector<std::pair<std::string, std::string>>& dst);
Labels inbound_tcp_source(std::string_view ip, uint16_t port, const TlsState& tls, const ResourceRef& server);
Labels inbound_tcp_destination();

}  // namespace tulle::observe
