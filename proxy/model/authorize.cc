#include "proxy/model/authorize.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::proxy {

Authorization::Authorization(const wire::Authz& authz)
    : networks_(authz.networks),
      authn_(authz.authn),
      identities_(authz.identities.begin(), authz.identities.end()),
      metadata_(authz.metadata),
      labels_(authz.labels) {
  for (const auto& s : authz.suffixes) suffixes_.push_back(s.empty() ? "" : cat('.', s));
}

bool Authorization::in_network(IpAddr ip) const {
  return std::any_of(networks_.begin(), networks_.end(), [&](const wire::Network& n) {
    return n.net.contains(ip) &&
           std::none_of(n.except.begin(), n.except.end(), [&](const Cidr& e) { return e.contains(ip); });
  });
}

Authorization::Verdict Authorization::check(const Client& client) const {
  using Authn = wire::Authz::Authn;
  if (!in_network(client.ip)) return Verdict::kWrongNetwork;
  if (authn_ == Authn::kUnauthenticated) return Verdict::kAllowed;
  if (client.tls != Client::Tls::kMesh) return Verdict::kNotMeshed;
  if (authn_ == Authn::kTlsUnauthenticated) return Verdict::kAllowed;
  if (client.identity.empty()) return Verdict::kNoIdentity;
  if (authn_ != Authn::kTlsIdentities) return Verdict::kWrongIdentity;
  if (identities_.contains(client.identity)) return Verdict::kAllowed;
  // A suffix is of a DNS-like name; of a URI it would mean nothing. "Any" is any.
  bool uri = client.identity.find("://") != client.identity.npos;
  for (const auto& s : suffixes_)
    if (s.empty() || (!uri && client.identity.size() > s.size() && client.identity.ends_with(s)))
      return Verdict::kAllowed;
  return Verdict::kWrongIdentity;
}

wire::Authz localhost_authz(std::optional<IpAddr> pod_ip) {
  wire::Authz a;
  if (pod_ip) a.networks = {{*Cidr::make(*pod_ip, 32), {}}};
  else a.networks = {{*Cidr::make(IpAddr::loopback(), 32), {}}, {*Cidr::make(IpAddr::v6(0, 1), 128), {}}};
  a.authn = wire::Authz::Authn::kUnauthenticated;
  a.metadata = wire::Metadata::default_named("localhost");
  a.labels = {{"group", ""}, {"kind", "default"}, {"name", "localhost"}};
  return a;
}

std::string_view Decision::reason() const {
  if (allowed) return "allowed";
  if (none) return "no authorization exists";
  switch (denied) {
    case Authorization::Verdict::kAllowed: return "allowed";
    case Authorization::Verdict::kWrongNetwork: return "no authorization covers its address";
    case Authorization::Verdict::kNotMeshed: return "it is not in the mesh (no mutual TLS)";
    case Authorization::Verdict::kNoIdentity: return "it showed no identity";
    case Authorization::Verdict::kWrongIdentity: return "its identity is not among those allowed";
  }
  return "";
}

Decision authorize(std::span<const Authorization> route, std::span<const Authorization> server, const Client& client) {
  Decision d;
  d.none = route.empty() && server.empty();
  for (auto list : {route, server})
    for (const Authorization& a : list) {
      auto verdict = a.check(client);
      if (verdict == Authorization::Verdict::kAllowed) {
        d.allowed = &a;
        return d;
      }
      d.denied = std::max(d.denied, verdict);
    }
  return d;
}

}  // namespace tulle::proxy
