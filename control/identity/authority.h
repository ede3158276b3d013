// The mesh's certificate authority and its token key, kept in the state directory.
//
//   root.key root.crt       the trust root: ECDSA P-256, 10 years, made on first start
//   issuer.key issuer.crt   signs workloads: 1 year, made anew from the root when less than 30 days are left
//   token.key               32 random bytes
//
// Ten years, since a root that ends takes the mesh down with it and changing it needs every proxy's attention; the
// issuer is changed without notice, for proxies send its certificate along with their own. All files are 0600 in a
// folder of 0700.
#pragma once

#include <string>

#include "libs/tls/ca.h"

namespace tulle::control {

struct Authorities {
  tls::Authority root;
  tls::Authority issuer;
  tls::TrustBundle roots;
  std::string token_key;
};

// Reads them, making what is not there. `names` end in the trust domain. Error: kIo, or kInvalid for a file that
// cannot be what it should be; the reason says which, and nothing is overwritten.
Result<Authorities> open_authorities(const std::string& state_dir, const std::string& trust_domain, WallTime now);

// Makes a new issuer if the present one has less than 30 days left. True: it did.
Result<bool> renew_issuer(Authorities& a, const std::string& state_dir, const std::string& trust_domain, WallTime now);

}  // namespace tulle::control
