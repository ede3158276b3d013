#include "libs/tls/ca.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <algorithm>

#include "libs/tls/internal.h"

namespace tulle::tls {
namespace {

constexpr size_t kMaxCommonName = 64, kMaxNames = 8, kSerialBytes = 16, kKeyIdBytes = 20;

std::unexpected<Error> failed() { return internal_failure("sign certificate"); }

// What differs between the certificates that we make.
struct Plan {
  std::string cn;  // "" for none
  WallTime not_before, not_after;
  bool is_ca = false;
  int path_length = -1;  // −1: any
  std::span<const Identity> names = {};
};

bool add_extension(X509* cert, int nid, bool critical, void* value) {
  return value && X509_add1_ext_i2d(cert, nid, value, critical ? 1 : 0, X509V3_ADD_APPEND) == 1;
}

bssl::UniquePtr<ASN1_OCTET_STRING> octets(Bytes bytes) {
  bssl::UniquePtr<ASN1_OCTET_STRING> s(ASN1_OCTET_STRING_new());
  if (s && !ASN1_STRING_set(s.get(), bytes.data(), static_cast<ossl_ssize_t>(bytes.size()))) s.reset();
  return s;
}

// RFC 7093 §2 (1): the first 160 bits of SHA-256, here of the whole SubjectPublicKeyInfo (its method 4).
std::string key_id(const EVP_PKEY* key) { return sha256(spki_of(key)).substr(0, kKeyIdBytes); }

// The key identifier that `issuer` has in its certificate, or ours for its key.
std::string issuer_key_id(X509* issuer, const EVP_PKEY* key) {
  const ASN1_OCTET_STRING* id = issuer ? X509_get0_subject_key_id(issuer) : nullptr;
  if (!id) return key_id(key);
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(id)), static_cast<size_t>(ASN1_STRING_length(id))};
}

bool set_serial(X509* cert) {
  uint8_t bytes[kSerialBytes];
  RAND_bytes(bytes, sizeof bytes);
  bytes[0] |= 0x01;  // never zero
  bssl::UniquePtr<BIGNUM> n(BN_bin2bn(bytes, sizeof bytes, nullptr));
  bssl::UniquePtr<ASN1_INTEGER> serial(n ? BN_to_ASN1_INTEGER(n.get(), nullptr) : nullptr);
  return serial && X509_set_serialNumber(cert, serial.get());
}

bool set_dates(X509* cert, WallTime not_before, WallTime not_after) {
  bssl::UniquePtr<ASN1_TIME> from(ASN1_TIME_set_posix(nullptr, posix_seconds(not_before)));
  bssl::UniquePtr<ASN1_TIME> to(ASN1_TIME_set_posix(nullptr, posix_seconds(not_after)));
  return from && to && X509_set1_notBefore(cert, from.get()) && X509_set1_notAfter(cert, to.get());
}

bool set_usage(X509* cert, const Plan& plan) {
  bssl::UniquePtr<BASIC_CONSTRAINTS> constraints(BASIC_CONSTRAINTS_new());
  bssl::UniquePtr<ASN1_BIT_STRING> usage(ASN1_BIT_STRING_new());
  if (!constraints || !usage) return false;
  constraints->ca = plan.is_ca ? 0xff : 0;
  if (plan.path_length >= 0) {
    constraints->pathlen = ASN1_INTEGER_new();
    if (!constraints->pathlen ||
        !ASN1_INTEGER_set_uint64(constraints->pathlen, static_cast<uint64_t>(plan.path_length)))
      return false;
  }
  // Bits of RFC 5280 §4.2.1.3: 0 digitalSignature, 2 keyEncipherment, 5 keyCertSign, 6 cRLSign.
  for (int bit : plan.is_ca ? std::initializer_list<int>{5, 6} : std::initializer_list<int>{0, 2})
    if (!ASN1_BIT_STRING_set_bit(usage.get(), bit, 1)) return false;
  if (!add_extension(cert, NID_basic_constraints, true, constraints.get()) ||
      !add_extension(cert, NID_key_usage, true, usage.get()))
    return false;
  if (plan.is_ca) return true;
  bssl::UniquePtr<EXTENDED_KEY_USAGE> uses(sk_ASN1_OBJECT_new_null());
  for (int nid : {NID_server_auth, NID_client_auth})
    if (!uses || !sk_ASN1_OBJECT_push(uses.get(), OBJ_nid2obj(nid))) return false;
  return add_extension(cert, NID_ext_key_usage, false, uses.get());
}

bool set_key_ids(X509* cert, const EVP_PKEY* subject, Bytes issuer_id) {
  auto own = octets(key_id(subject));
  bssl::UniquePtr<AUTHORITY_KEYID> authority(AUTHORITY_KEYID_new());
  if (!authority) return false;
  authority->keyid = octets(issuer_id).release();
  return authority->keyid && add_extension(cert, NID_subject_key_identifier, false, own.get()) &&
         add_extension(cert, NID_authority_key_identifier, false, authority.get());
}

bool set_names(X509* cert, std::span<const Identity> names, bool critical) {
  bssl::UniquePtr<GENERAL_NAMES> sans(GENERAL_NAMES_new());
  for (const Identity& name : names) {
    bssl::UniquePtr<GENERAL_NAME> san(GENERAL_NAME_new());
    bssl::UniquePtr<ASN1_IA5STRING> text(ASN1_IA5STRING_new());
    if (!sans || !san || !text ||
        !ASN1_STRING_set(text.get(), name.name().data(), static_cast<ossl_ssize_t>(name.name().size())))
      return false;
    GENERAL_NAME_set0_value(san.get(), name.is_dns() ? GEN_DNS : GEN_URI, text.release());
    if (!bssl::PushToStack(sans.get(), std::move(san))) return false;
  }
  return add_extension(cert, NID_subject_alt_name, critical, sans.get());
}

// A certificate for `subject` by `issuer` (null: self-signed) with the key `key`.
Result<std::string> sign(const Plan& plan, EVP_PKEY* subject, X509* issuer, EVP_PKEY* key) {
  X509Ptr cert(X509_new());
  if (!cert || !X509_set_version(cert.get(), X509_VERSION_3) || !set_serial(cert.get()) ||
      !set_dates(cert.get(), plan.not_before, plan.not_after) || !X509_set_pubkey(cert.get(), subject))
    return failed();
  X509_NAME* name = X509_get_subject_name(cert.get());
  if (!plan.cn.empty() &&
      !X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, reinterpret_cast<const uint8_t*>(plan.cn.data()),
                                  static_cast<ossl_ssize_t>(plan.cn.size()), -1, 0))
    return failed();
  if (!X509_set_issuer_name(cert.get(), issuer ? X509_get_subject_name(issuer) : name) ||
      !set_usage(cert.get(), plan) || !set_key_ids(cert.get(), subject, issuer_key_id(issuer, key)) ||
      (!plan.names.empty() && !set_names(cert.get(), plan.names, plan.cn.empty())))
    return failed();
  const EVP_MD* digest = EVP_PKEY_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  if (!X509_sign(cert.get(), key, digest)) return failed();
  return der_of(cert.get());
}

bool self_signed(const std::string& der) {
  auto cert = parse_x509(der);
  return cert && X509_name_cmp(X509_get_subject_name(cert->get()), X509_get_issuer_name(cert->get())) == 0;
}

Result<> check_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxCommonName)
    return fail(Code::kInvalid, cat("authority name ", quoted(name), ": 1 to ", kMaxCommonName, " bytes are accepted"));
  return {};
}

}  // namespace

Result<Authority> Authority::make_root(std::string_view name, Duration lifetime, WallTime now) {
  TULLE_TRY_VOID(check_name(name));
  TULLE_TRY(PrivateKey key, PrivateKey::generate());
  EVP_PKEY* pkey = key.impl().key.get();
  TULLE_TRY(std::string der, sign(Plan{std::string(name), now, now + lifetime, true}, pkey, nullptr, pkey));
  return load(std::move(key), {std::move(der)});
}

Result<Authority> Authority::make_issuer(std::string_view name, Duration lifetime, WallTime now) const {
  TULLE_TRY_VOID(check_name(name));
  if (now >= not_after_)
    return fail(Code::kUnavailable, cat("authority ", info_.subject_cn, " expired at ", format_rfc3339(not_after_)));
  TULLE_TRY(PrivateKey key, PrivateKey::generate());
  TULLE_TRY(X509Ptr own, parse_x509(chain_.front()));
  Plan plan{std::string(name), now, std::min(now + lifetime, not_after_), true, 0};
  TULLE_TRY(std::string der, sign(plan, key.impl().key.get(), own.get(), key_.impl().key.get()));
  std::vector<std::string> chain{std::move(der)};
  chain.insert(chain.end(), chain_.begin(), chain_.end());
  return load(std::move(key), std::move(chain));
}

Result<Authority> Authority::load(PrivateKey key, std::vector<std::string> chain) {
  if (chain.empty() || chain.size() > kMaxChain)
    return fail(Code::kInvalid, cat("authority: 1 to ", kMaxChain, " certificates are accepted, got ", chain.size()));
  std::vector<X509Ptr> certs;
  for (const std::string& der : chain) {
    TULLE_TRY(X509Ptr cert, parse_x509(der));
    certs.push_back(std::move(cert));
  }
  CertInfo info = info_of(certs[0].get());
  if (!info.is_ca) return fail(Code::kInvalid, cat("authority ", quoted(info.subject_cn), ": not a CA certificate"));
  if (info.public_key != key.public_key())
    return fail(Code::kInvalid, cat("authority ", quoted(info.subject_cn), ": the key is not that of the certificate"));
  WallTime not_after = info.not_after;
  for (size_t i = 0; i + 1 < certs.size(); ++i) {
    if (X509_check_issued(certs[i + 1].get(), certs[i].get()) != X509_V_OK ||
        X509_verify(certs[i].get(), X509_get0_pubkey(certs[i + 1].get())) != 1) {
      ERR_clear_error();
      return fail(Code::kInvalid,
                  cat("authority: certificate ", i + 1, " of the chain is not signed by certificate ", i + 2));
    }
    not_after = std::min(not_after, info_of(certs[i + 1].get()).not_after);
  }
  return Authority(std::move(key), std::move(chain), std::move(info), not_after);
}

Result<> Authority::verify(const TrustBundle& roots, WallTime now) const {
  std::vector<Bytes> views(chain_.begin(), chain_.end());
  auto path = verify_path(views, roots, std::nullopt, now);
  if (!path) {
    Error e = std::move(path).error().with("issuer");
    e.side = Side::kSelf;
    return fail(std::move(e));
  }
  return {};
}

Result<Issued> Authority::issue(const Csr& csr, std::span<const Identity> names, Duration lifetime, Duration skew,
                                WallTime now) const {
  if (names.empty() || names.size() > kMaxNames)
    return fail(Code::kInvalid, cat("issue: 1 to ", kMaxNames, " names are accepted, got ", names.size()));
  if (lifetime <= 0ns || skew < 0ns) return fail(Code::kInvalid, "issue: the lifetime must be positive");
  if (now >= not_after_)
    return fail(Code::kUnavailable, cat("issuer ", info_.subject_cn, " expired at ", format_rfc3339(not_after_)));
  TULLE_TRY(KeyPtr subject, parse_spki(csr.public_key));
  TULLE_TRY(X509Ptr own, parse_x509(chain_.front()));
  auto dns = std::ranges::find_if(names, &Identity::is_dns);
  Plan plan{"", now - skew, std::min(now + lifetime + skew, not_after_)};
  plan.names = names;
  if (dns != names.end() && dns->name().size() <= kMaxCommonName) plan.cn = dns->name();
  Issued issued;
  TULLE_TRY(issued.leaf, sign(plan, subject.get(), own.get(), key_.impl().key.get()));
  for (const std::string& der : chain_)
    if (!self_signed(der)) issued.chain.push_back(der);
  issued.not_after = wall_time(posix_seconds(plan.not_after));
  return issued;
}

}  // namespace tulle::tls
