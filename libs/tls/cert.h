// Keys, certificates, requests and trust bundles. Certificates travel as DER in plain strings; everything here is a
// value or an immutable handle, usable from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/base/strings.h"
#include "libs/base/time.h"
#include "libs/tls/identity.h"

namespace tulle::tls {

// Limits on what is read from outside.
inline constexpr size_t kMaxCertBytes = 16 * 1024;   // one certificate or request, DER
inline constexpr size_t kMaxPemBytes = 1024 * 1024;  // one PEM text
inline constexpr size_t kMaxCertsInPem = 256;
inline constexpr size_t kMaxChain = 8;  // certificates that a peer may present

// A signing key. A handle: copies share the key, whose memory is wiped when the last one goes. It never leaves the
// process but by to_pem().
class PrivateKey {
 public:
  // A new P-256 key.
  static Result<PrivateKey> generate();
  // PKCS#8 ("PRIVATE KEY") or SEC 1 ("EC PRIVATE KEY"); RSA keys too ("RSA PRIVATE KEY"), as a root may have one.
  static Result<PrivateKey> from_pem(std::string_view pem);
  // PKCS#8 DER, Linkerd's key.p8.
  static Result<PrivateKey> from_pkcs8(Bytes der);
  // PKCS#8 PEM, unencrypted: only for a CA's key on disk (mode 0600). The caller wipes it (cleanse()).
  Result<std::string> to_pem() const;
  // SubjectPublicKeyInfo, DER.
  std::string public_key() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for libs/tls only
  explicit PrivateKey(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

// Overwrites a secret in a way that the compiler keeps, then empties it.
void cleanse(std::string& secret);

// What a certificate says.
struct CertInfo {
  std::vector<Identity> identities;  // of its SANs, in order: DNS names and SPIFFE URIs that parse; others are left out
  std::string subject_cn;            // "" when there is none
  std::string issuer_cn;
  std::string serial;  // lower-case hexadecimal
  WallTime not_before, not_after;
  bool is_ca = false;
  std::string public_key;  // SubjectPublicKeyInfo, DER
};
// Error: kInvalid. Nothing is verified.
Result<CertInfo> read_cert(Bytes der);

// The certificates of a PEM text, in order, each parsed once; at least one. Other blocks are an error, text between
// blocks is not.
Result<std::vector<std::string>> certs_from_pem(std::string_view pem);
std::string certs_to_pem(const std::vector<std::string>& ders);
std::string sha256(Bytes data);  // 32 bytes

// The roots that a mesh trusts. A handle on an immutable set. A root need not be self-signed (an issuer can be pinned).
class TrustBundle {
 public:
  static Result<TrustBundle> from_pem(std::string_view pem);
  // Duplicates count once; at least one.
  static Result<TrustBundle> from_ders(const std::vector<std::string>& ders);

  const std::vector<std::string>& roots() const;
  std::string to_pem() const;
  bool operator==(const TrustBundle& o) const { return roots() == o.roots(); }

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for libs/tls only
  explicit TrustBundle(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

// A certificate request: who asks, and the key that it proved to hold.
struct Csr {
  Identity name;
  std::string public_key;  // SubjectPublicKeyInfo, DER
};
// PKCS#10 DER as Linkerd's proxy-identity makes it: DNS SAN = name, CN = name (left out over 64 bytes, RFC 5280
// appendix A). `name` must be a DNS identity.
Result<std::string> make_csr(const PrivateKey& key, const Identity& name);
// Checks the signature, and that there is exactly one DNS SAN and no other SAN, that the CN is empty or equal, and that
// the key is ECDSA P-256 or P-384. Error: kInvalid, naming what is wrong.
Result<Csr> parse_csr(Bytes der);

}  // namespace tulle::tls
