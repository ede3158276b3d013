// Certificate requests (PKCS#10, RFC 2986).
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/x509.h>

#include "libs/tls/internal.h"

namespace tulle::tls {
namespace {

constexpr size_t kMaxCommonName = 64;  // RFC 5280 appendix A, ub-common-name

std::unexpected<Error> refuse(std::string_view why) {
  ERR_clear_error();
  return fail(Code::kInvalid, cat("certificate request: ", why), Side::kClient);
}

Result<> add_names(X509_REQ* req, const Identity& name) {
  bssl::UniquePtr<GENERAL_NAMES> sans(GENERAL_NAMES_new());
  bssl::UniquePtr<GENERAL_NAME> san(GENERAL_NAME_new());
  bssl::UniquePtr<ASN1_IA5STRING> text(ASN1_IA5STRING_new());
  bssl::UniquePtr<STACK_OF(X509_EXTENSION)> extensions(sk_X509_EXTENSION_new_null());
  if (!sans || !san || !text || !extensions ||
      !ASN1_STRING_set(text.get(), name.name().data(), static_cast<ossl_ssize_t>(name.name().size())))
    return internal_failure("certificate request");
  GENERAL_NAME_set0_value(san.get(), GEN_DNS, text.release());
  if (!bssl::PushToStack(sans.get(), std::move(san))) return internal_failure("certificate request");
  bssl::UniquePtr<X509_EXTENSION> extension(X509V3_EXT_i2d(NID_subject_alt_name, 0, sans.get()));
  if (!extension || !bssl::PushToStack(extensions.get(), std::move(extension)) ||
      !X509_REQ_add_extensions(req, extensions.get()))
    return internal_failure("certificate request");
  return {};
}

// The only subject alternative name.
Result<Identity> only_name(X509_REQ* req) {
  bssl::UniquePtr<STACK_OF(X509_EXTENSION)> extensions(X509_REQ_get_extensions(req));
  if (!extensions) return refuse("no subject alternative name");
  int found = 0;  // −1: not there, −2: there twice
  bssl::UniquePtr<GENERAL_NAMES> sans(
      static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions.get(), NID_subject_alt_name, &found, nullptr)));
  if (!sans) return refuse(found == -1 ? "no subject alternative name" : "malformed subject alternative names");
  if (sk_GENERAL_NAME_num(sans.get()) != 1) return refuse("exactly one subject alternative name is accepted");
  const GENERAL_NAME* san = sk_GENERAL_NAME_value(sans.get(), 0);
  if (san->type != GEN_DNS) return refuse("the subject alternative name is not a DNS name");
  const ASN1_IA5STRING* s = san->d.dNSName;
  auto name = Identity::parse_dns(
      {reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), static_cast<size_t>(ASN1_STRING_length(s))});
  if (!name) return refuse(name.error().reason);
  return name;
}

bool is_usable(const EVP_PKEY* key) {
  if (EVP_PKEY_id(key) != EVP_PKEY_EC) return false;
  int curve = EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)));
  return curve == NID_X9_62_prime256v1 || curve == NID_secp384r1;
}

}  // namespace

Result<std::string> make_csr(const PrivateKey& key, const Identity& name) {
  if (!name.is_dns()) return fail(Code::kInvalid, cat("certificate request: ", name.name(), " is not a DNS name"));
  bssl::UniquePtr<X509_REQ> req(X509_REQ_new());
  EVP_PKEY* pkey = key.impl().key.get();
  if (!req || !X509_REQ_set_version(req.get(), X509_REQ_VERSION_1) || !X509_REQ_set_pubkey(req.get(), pkey))
    return internal_failure("certificate request");
  if (name.name().size() <= kMaxCommonName &&
      !X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(req.get()), NID_commonName, MBSTRING_UTF8,
                                  reinterpret_cast<const uint8_t*>(name.name().data()),
                                  static_cast<ossl_ssize_t>(name.name().size()), -1, 0))
    return internal_failure("certificate request");
  TULLE_TRY_VOID(add_names(req.get(), name));
  uint8_t* der = nullptr;
  int size = X509_REQ_sign(req.get(), pkey, EVP_sha256()) ? i2d_X509_REQ(req.get(), &der) : -1;
  if (size <= 0) return internal_failure("certificate request");
  bssl::UniquePtr<uint8_t> free_der(der);
  return std::string(reinterpret_cast<char*>(der), static_cast<size_t>(size));
}

Result<Csr> parse_csr(Bytes der) {
  if (der.size() > kMaxCertBytes) return refuse(cat("more than ", kMaxCertBytes, " bytes"));
  const auto* begin = reinterpret_cast<const uint8_t*>(der.data());
  const uint8_t* p = begin;
  bssl::UniquePtr<X509_REQ> req(d2i_X509_REQ(nullptr, &p, static_cast<long>(der.size())));
  if (!req || p != begin + der.size()) return refuse("not PKCS#10 DER");
  KeyPtr key(X509_REQ_get_pubkey(req.get()));
  if (!key || !is_usable(key.get())) return refuse("its key is not ECDSA P-256 or P-384");
  if (X509_REQ_verify(req.get(), key.get()) != 1) return refuse("its signature is not by its key");
  TULLE_TRY(Identity name, only_name(req.get()));
  auto cn = common_name(X509_REQ_get_subject_name(req.get()));
  if (!cn || (!cn->empty() && !iequals(*cn, name.name())))
    return refuse(cat("its common name is neither empty nor ", name.name()));
  return Csr{std::move(name), spki_of(key.get())};
}

}  // namespace tulle::tls
