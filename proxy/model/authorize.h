// Who may send to a port or a route. Compiled once, immutable, shared; no allocation per check.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "libs/base/addr.h"
#include "libs/base/strings.h"
#include "libs/wire/inbound.h"

namespace tulle::proxy {

// A client as the connection shows it.
struct Client {
  enum class Tls : uint8_t {
    kNone,         // plaintext
    kMesh,         // terminated here
    kPassthrough,  // for somebody else: does not count
  };
  IpAddr ip;
  Tls tls = Tls::kNone;
  std::string_view identity;  // kMesh: "" if the client showed no certificate
};

class Authorization {
 public:
  explicit Authorization(const wire::Authz& authz);

  enum class Verdict : uint8_t { kAllowed, kWrongNetwork, kNotMeshed, kNoIdentity, kWrongIdentity };
  Verdict check(const Client& client) const;

  const wire::Metadata& metadata() const { return metadata_; }
  const wire::Labels& labels() const { return labels_; }

 private:
  bool in_network(IpAddr ip) const;
  std::vector<wire::Network> networks_;
  wire::Authz::Authn authn_;
  absl::flat_hash_set<std::string, StringHash, std::equal_to<>> identities_;
  std::vector<std::string> suffixes_;  // ".a.b"; "" allows any identity
  wire::Metadata metadata_;
  wire::Labels labels_;
};

// Allows the localhost of the workload, which Linkerd always adds. In a rootless pod the host's loopback is
// everybody's: there only the pod's own address is the workload itself.
wire::Authz localhost_authz(std::optional<IpAddr> pod_ip = std::nullopt);

struct Decision {
  // Who allowed it; null: denied.
  const Authorization* allowed = nullptr;
  // Denied: how near it came, the verdict of the authorization that failed latest in the order of Verdict; with none
  // to ask, kWrongNetwork and `none` set.
  Authorization::Verdict denied = Authorization::Verdict::kWrongNetwork;
  bool none = false;

  explicit operator bool() const { return allowed != nullptr; }
  // For the log and `tulle explain`: "its identity is not among those allowed".
  std::string_view reason() const;
};
// Asks the authorizations of the route, then of the server; the first that allows wins.
Decision authorize(std::span<const Authorization> route, std::span<const Authorization> server, const Client& client);

}  // namespace tulle::proxy
