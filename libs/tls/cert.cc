#include "libs/tls/cert.h"

#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <algorithm>
#include <limits>

#include "libs/tls/internal.h"

namespace tulle::tls {

void FreeKey::operator()(evp_pkey_st* p) const { EVP_PKEY_free(p); }
void FreeX509::operator()(x509_st* p) const { X509_free(p); }
void FreeStore::operator()(x509_store_st* p) const { X509_STORE_free(p); }

namespace {

const uint8_t* bytes_of(Bytes b) { return reinterpret_cast<const uint8_t*>(b.data()); }
std::string_view text_of(const ASN1_STRING* s) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), static_cast<size_t>(ASN1_STRING_length(s))};
}
// Takes the text that an i2d function allocated.
std::string take_der(uint8_t* p, int n) {
  if (n <= 0) return {};
  std::string out(reinterpret_cast<char*>(p), static_cast<size_t>(n));
  OPENSSL_free(p);
  return out;
}
int no_password(char*, int, int, void*) { return 0; }

WallTime time_of(const ASN1_TIME* t, WallTime when_broken) {
  int64_t seconds;
  return t && ASN1_TIME_to_posix(t, &seconds) ? wall_time(seconds) : when_broken;
}

Result<bssl::UniquePtr<BIO>> pem_source(std::string_view pem) {
  if (pem.size() > kMaxPemBytes) return fail(Code::kTooLarge, cat("PEM: more than ", kMaxPemBytes, " bytes"));
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) return internal_failure("PEM");
  return bio;
}

}  // namespace

std::string library_error() {
  uint32_t e = ERR_peek_last_error();
  ERR_clear_error();
  if (e == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(e);
  return reason ? reason : cat("error ", e);
}

std::unexpected<Error> internal_failure(std::string_view what) {
  return fail(Code::kInternal, cat(what, ": ", library_error()));
}

WallTime wall_time(int64_t posix_seconds) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max() / 1'000'000'000;
  if (posix_seconds >= kMax) return WallTime::max();
  if (posix_seconds <= -kMax) return WallTime::min();
  return WallTime(std::chrono::seconds(posix_seconds));
}

int64_t posix_seconds(WallTime t) { return std::chrono::floor<std::chrono::seconds>(t).time_since_epoch().count(); }

void cleanse(std::string& secret) {
  secret.resize(secret.capacity());
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

std::string sha256(Bytes data) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256(bytes_of(data), data.size(), reinterpret_cast<uint8_t*>(out.data()));
  return out;
}

// --- keys

Result<PrivateKey> PrivateKey::generate() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  KeyPtr key(EVP_PKEY_new());
  if (!ec || !key || !EC_KEY_generate_key(ec.get()) || !EVP_PKEY_set1_EC_KEY(key.get(), ec.get()))
    return internal_failure("generate key");
  return PrivateKey(std::make_shared<const Impl>(std::move(key)));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  TULLE_TRY(auto bio, pem_source(pem));
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (!key)
    return fail(Code::kInvalid,
                cat("private key: not an unencrypted PEM block of PKCS#8, EC or RSA (", library_error(), ")"));
  return PrivateKey(std::make_shared<const Impl>(std::move(key)));
}

Result<PrivateKey> PrivateKey::from_pkcs8(Bytes der) {
  CBS cbs;
  CBS_init(&cbs, bytes_of(der), der.size());
  KeyPtr key(EVP_parse_private_key(&cbs));
  if (!key || CBS_len(&cbs) != 0) {
    ERR_clear_error();
    return fail(Code::kInvalid, "private key: not PKCS#8 DER");
  }
  return PrivateKey(std::make_shared<const Impl>(std::move(key)));
}

Result<std::string> PrivateKey::to_pem() const {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  const uint8_t* data = nullptr;
  size_t size = 0;
  if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio.get(), impl_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) ||
      !BIO_mem_contents(bio.get(), &data, &size))
    return internal_failure("private key to PEM");
  return std::string(reinterpret_cast<const char*>(data), size);
}

std::string PrivateKey::public_key() const { return spki_of(impl_->key.get()); }

std::string spki_of(const EVP_PKEY* key) {
  bssl::ScopedCBB cbb;
  uint8_t* data = nullptr;
  size_t size = 0;
  if (!CBB_init(cbb.get(), 128) || !EVP_marshal_public_key(cbb.get(), key) || !CBB_finish(cbb.get(), &data, &size)) {
    ERR_clear_error();
    return {};
  }
  return take_der(data, static_cast<int>(size));
}

Result<KeyPtr> parse_spki(Bytes der) {
  CBS cbs;
  CBS_init(&cbs, bytes_of(der), der.size());
  KeyPtr key(EVP_parse_public_key(&cbs));
  if (!key || CBS_len(&cbs) != 0) {
    ERR_clear_error();
    return fail(Code::kInvalid, "not a public key (SubjectPublicKeyInfo, DER)");
  }
  return key;
}

// --- certificates

Result<X509Ptr> parse_x509(Bytes der) {
  if (der.size() > kMaxCertBytes) return fail(Code::kTooLarge, cat("certificate: more than ", kMaxCertBytes, " bytes"));
  const uint8_t* p = bytes_of(der);
  X509Ptr cert(d2i_X509(nullptr, &p, static_cast<long>(der.size())));
  if (!cert) return fail(Code::kInvalid, cat("not a certificate (DER): ", library_error()));
  if (p != bytes_of(der) + der.size()) return fail(Code::kInvalid, "certificate: bytes after its end");
  return cert;
}

std::string der_of(X509* cert) {
  uint8_t* p = nullptr;
  int n = i2d_X509(cert, &p);
  return take_der(p, n);
}

std::optional<std::string> common_name(X509_NAME* name) {
  int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return "";
  if (X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) return std::nullopt;
  uint8_t* utf8 = nullptr;
  int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (n < 0) {
    ERR_clear_error();
    return std::nullopt;
  }
  std::string out(reinterpret_cast<char*>(utf8), static_cast<size_t>(n));
  OPENSSL_free(utf8);
  return out;
}

std::vector<Identity> identities_of(X509* cert) {
  std::vector<Identity> out;
  bssl::UniquePtr<GENERAL_NAMES> sans(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(cert, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  for (size_t i = 0; sans && i < sk_GENERAL_NAME_num(sans.get()); ++i) {
    const GENERAL_NAME* san = sk_GENERAL_NAME_value(sans.get(), i);
    if (san->type == GEN_DNS) {
      if (auto id = Identity::parse_dns(text_of(san->d.dNSName))) out.push_back(std::move(*id));
    } else if (san->type == GEN_URI) {
      if (auto id = Identity::parse_uri(text_of(san->d.uniformResourceIdentifier))) out.push_back(std::move(*id));
    }
  }
  return out;
}

CertInfo info_of(X509* cert) {
  CertInfo info;
  info.identities = identities_of(cert);
  info.subject_cn = common_name(X509_get_subject_name(cert)).value_or("");
  info.issuer_cn = common_name(X509_get_issuer_name(cert)).value_or("");
  info.serial = hex(text_of(X509_get0_serialNumber(cert)));
  info.not_before = time_of(X509_get0_notBefore(cert), WallTime::max());
  info.not_after = time_of(X509_get0_notAfter(cert), WallTime::min());
  info.is_ca = X509_check_ca(cert) == 1;
  if (const EVP_PKEY* key = X509_get0_pubkey(cert)) info.public_key = spki_of(key);
  ERR_clear_error();
  return info;
}

Result<CertInfo> read_cert(Bytes der) {
  TULLE_TRY(X509Ptr cert, parse_x509(der));
  return info_of(cert.get());
}

Result<std::vector<std::string>> certs_from_pem(std::string_view pem) {
  TULLE_TRY(auto bio, pem_source(pem));
  std::vector<std::string> out;
  for (;;) {
    char *name = nullptr, *header = nullptr;
    uint8_t* data = nullptr;
    long size = 0;
    if (!PEM_read_bio(bio.get(), &name, &header, &data, &size)) {
      uint32_t e = ERR_peek_last_error();
      std::string why = library_error();
      if (ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE) break;
      return fail(Code::kInvalid, cat("PEM block ", out.size() + 1, ": ", why));
    }
    bssl::UniquePtr<char> free_name(name), free_header(header);
    bssl::UniquePtr<uint8_t> free_data(data);
    std::string_view kind = name;
    if (kind != "CERTIFICATE" && kind != "X509 CERTIFICATE")
      return fail(Code::kInvalid, cat("PEM block ", out.size() + 1, ": expected CERTIFICATE, got ", quoted(kind)));
    if (out.size() == kMaxCertsInPem)
      return fail(Code::kTooLarge, cat("PEM: more than ", kMaxCertsInPem, " certificates"));
    Bytes der(reinterpret_cast<char*>(data), static_cast<size_t>(size));
    if (auto cert = parse_x509(der); !cert)
      return fail(std::move(cert).error().with(cat("PEM block ", out.size() + 1)));
    out.emplace_back(der);
  }
  if (out.empty()) return fail(Code::kInvalid, "PEM: no certificate");
  return out;
}

std::string certs_to_pem(const std::vector<std::string>& ders) {
  std::string out;
  for (const std::string& der : ders) {
    out += "-----BEGIN CERTIFICATE-----\n";
    std::string text = base64(der);
    for (size_t i = 0; i < text.size(); i += 64) append(out, std::string_view(text).substr(i, 64), '\n');
    out += "-----END CERTIFICATE-----\n";
  }
  return out;
}

// --- trust bundles

Result<TrustBundle> TrustBundle::from_pem(std::string_view pem) {
  auto ders = certs_from_pem(pem);
  if (!ders) return fail(std::move(ders).error().with("trust bundle"));
  return from_ders(*ders);
}

Result<TrustBundle> TrustBundle::from_ders(const std::vector<std::string>& ders) {
  if (ders.empty()) return fail(Code::kInvalid, "trust bundle: no certificate");
  auto impl = std::make_shared<Impl>();
  impl->store.reset(X509_STORE_new());
  if (!impl->store) return internal_failure("trust bundle");
  for (const std::string& der : ders) {
    if (std::ranges::find(impl->ders, der) != impl->ders.end()) continue;
    auto cert = parse_x509(der);
    if (!cert) return fail(std::move(cert).error().with("trust bundle"));
    if (!X509_STORE_add_cert(impl->store.get(), cert->get())) return internal_failure("trust bundle");
    impl->ders.push_back(der);
  }
  return TrustBundle(std::move(impl));
}

const std::vector<std::string>& TrustBundle::roots() const { return impl_->ders; }
std::string TrustBundle::to_pem() const { return certs_to_pem(impl_->ders); }

}  // namespace tulle::tls
