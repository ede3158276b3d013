// For tests and benches: a mesh's certificates, made on the spot.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libs/tls/ca.h"
#include "libs/tls/context.h"

namespace tulle::tls::test {

inline Identity name_of(std::string_view workload) {
  return *dns_identity({std::string(workload), "shop", "linkerd", "cluster.local"});
}

// One root and one issuer; contexts for any workload. Crashes where it cannot go on.
struct TestMesh {
  WallTime now = std::chrono::system_clock::now();
  Authority root = *Authority::make_root("root.linkerd.cluster.local", 24h * 365, now - 1h);
  Authority issuer = *root.make_issuer("identity.linkerd.cluster.local", 24h * 30, now - 1h);
  TrustBundle bundle = *TrustBundle::from_ders(root.chain());

  // `from` and `lifetime`: of the certificate; by default valid since a minute ago, for an hour.
  Credentials credentials(const std::vector<Identity>& names, WallTime from, Duration lifetime) const {
    PrivateKey key = *PrivateKey::generate();
    Csr csr = *parse_csr(*make_csr(key, name_of("csr")));
    Issued issued = *issuer.issue(csr, names, lifetime, 0s, from);
    std::vector<std::string> chain{issued.leaf};
    chain.insert(chain.end(), issued.chain.begin(), issued.chain.end());
    return {key, chain};
  }
  Credentials credentials(const std::vector<Identity>& names) const { return credentials(names, now - 60s, 1h); }

  ContextOptions options(std::string_view workload) const {
    ContextOptions o(bundle);
    o.credentials = credentials({name_of(workload)});
    o.identity = name_of(workload);
    o.server_names = {name_of(workload).name()};
    return o;
  }
  std::shared_ptr<const Context> context(std::string_view workload) const { return *Context::make(options(workload)); }
  // A client that shows no certificate.
  std::shared_ptr<const Context> anonymous() const { return *Context::make(ContextOptions(bundle)); }
};

}  // namespace tulle::tls::test
