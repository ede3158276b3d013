// Certificate authority operations: a root, issuers below it, and workload certificates. ECDSA P-256 with SHA-256,
// random 128-bit serial numbers. Immutable; any thread. What is kept on disk, and when it is renewed, is the caller's.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libs/tls/cert.h"

namespace tulle::tls {

// A workload's new certificate.
struct Issued {
  std::string leaf;  // DER
  std::vector<std::string>
      chain;  // DER, what a peer needs above the leaf: the issuer first; a self-signed root is left out
  WallTime not_after;
};

// A key and the certificate that lets it sign others.
class Authority {
 public:
  // A self-signed root. `name` is its CN, such as "root.linkerd.cluster.local" (1–64 bytes).
  static Result<Authority> make_root(std::string_view name, Duration lifetime, WallTime now);
  // A new authority below `this`; it can sign leaves only (path length 0). Clamped to this one's end.
  Result<Authority> make_issuer(std::string_view name, Duration lifetime, WallTime now) const;
  // `chain`: its certificate first, then those above it. Error: kInvalid: not a CA certificate, key does not fit, or a
  // certificate of the chain is not signed by the next.
  static Result<Authority> load(PrivateKey key, std::vector<std::string> chain);

  const PrivateKey& key() const { return key_; }
  const std::vector<std::string>& chain() const { return chain_; }
  const CertInfo& info() const { return info_; }
  // The earliest end in its chain.
  WallTime not_after() const { return not_after_; }

  // That it leads to a root of `roots` at `now` (Linkerd's check before each certificate).
  Result<> verify(const TrustBundle& roots, WallTime now) const;

  // Signs a certificate for the key in `csr` with the SANs `names` (DNS and URI, 1–8 of them; the CSR's own name is not
  // added by itself). Valid from now − skew to now + lifetime + skew, clamped to not_after(). KeyUsage
  // digitalSignature|keyEncipherment, EKU serverAuth and clientAuth; the subject is the first DNS name (empty, and the
  // SANs critical, over 64 bytes). Error: kInvalid, or kUnavailable when this authority has itself expired.
  Result<Issued> issue(const Csr& csr, std::span<const Identity> names, Duration lifetime, Duration skew,
                       WallTime now) const;

 private:
  Authority(PrivateKey key, std::vector<std::string> chain, CertInfo info, WallTime not_after)
      : key_(std::move(key)), chain_(std::move(chain)), info_(std::move(info)), not_after_(not_after) {}
  PrivateKey key_;
  std::vector<std::string> chain_;
  CertInfo info_;
  WallTime not_after_;
};

}  // namespace tulle::tls
