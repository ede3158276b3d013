#include "control/identity/authority.h"

#include "libs/base/file.h"
#include "libs/base/strings.h"
#include "libs/tls/secret.h"

namespace tulle::control {
namespace {

constexpr Duration kDay = 24h;
constexpr Duration kRootLife = 3650 * kDay;
constexpr Duration kIssuerLife = 365 * kDay;
// Authorities begin a day before they are made: where the clock was ahead then and has been set back, they still count.
constexpr Duration kBackdated = kDay;
constexpr Duration kRenewBefore = 30 * kDay;

Result<> save(const tls::Authority& a, const std::string& base) {
  TULLE_TRY(std::string key, a.key().to_pem());
  auto written = write_file_atomic(cat(base, ".key"), key, 0600);
  tls::cleanse(key);
  if (!written) return written;
  return write_file_atomic(cat(base, ".crt"), tls::certs_to_pem(a.chain()), 0600);
}

// Nothing: neither file is there.
Result<std::optional<tls::Authority>> load(const std::string& base) {
  auto key_text = read_file(cat(base, ".key"), tls::kMaxPemBytes);
  auto cert_text = read_file(cat(base, ".crt"), tls::kMaxPemBytes);
  auto absent = [](const auto& r) { return !r && r.error().code == Code::kNotFound; };
  if (absent(key_text) && absent(cert_text)) return std::optional<tls::Authority>();
  // A key alone is what a crash between the two writes leaves; its certificate has been used by nobody.
  if (absent(cert_text)) return std::optional<tls::Authority>();
  if (!key_text) return fail(std::move(key_text).error());
  if (!cert_text) return fail(std::move(cert_text).error());
  auto key = tls::PrivateKey::from_pem(*key_text);
  tls::cleanse(*key_text);
  if (!key) return fail(std::move(key).error().with(cat(base, ".key")));
  auto chain = tls::certs_from_pem(*cert_text);
  if (!chain) return fail(std::move(chain).error().with(cat(base, ".crt")));
  auto authority = tls::Authority::load(std::move(*key), std::move(*chain));
  if (!authority) return fail(std::move(authority).error().with(cat(base, ".crt")));
  return std::optional<tls::Authority>(std::move(*authority));
}

Result<tls::Authority> make_issuer(const tls::Authority& root, const std::string& base, const std::string& trust_domain,
                                   WallTime now) {
  TULLE_TRY(tls::Authority issuer, root.make_issuer(cat("identity.linkerd.", trust_domain).substr(0, 64),
                                                    kIssuerLife + kBackdated, now - kBackdated));
  TULLE_TRY_VOID(save(issuer, base));
  return issuer;
}

Result<std::string> open_token_key(const std::string& path) {
  auto key = read_file(path, 4096);
  if (!key && key.error().code == Code::kNotFound) {
    std::string fresh = tls::random_bytes(32);
    TULLE_TRY_VOID(write_file_atomic(path, fresh, 0600));
    return fresh;
  }
  if (key && key->size() < 32)
    return fail(Code::kInvalid, cat(path, ": shorter than 32 bytes; remove it to have it made anew"));
  return key;
}

}  // namespace

Result<Authorities> open_authorities(const std::string& state_dir, const std::string& trust_domain, WallTime now) {
  std::string root_base = cat(state_dir, "/root"), issuer_base = cat(state_dir, "/issuer");
  TULLE_TRY(auto root, load(root_base));
  if (!root) {
    TULLE_TRY(root, tls::Authority::make_root(cat("root.linkerd.", trust_domain).substr(0, 64), kRootLife + kBackdated,
                                              now - kBackdated));
    TULLE_TRY_VOID(save(*root, root_base));
  }
  TULLE_TRY(tls::TrustBundle roots, tls::TrustBundle::from_ders(root->chain()));
  TULLE_TRY(auto issuer, load(issuer_base));
  // An issuer of another root (its state was half removed) is of no use to anybody.
  if (issuer && !issuer->verify(roots, now)) issuer.reset();
  if (!issuer) {
    TULLE_TRY(issuer, make_issuer(*root, issuer_base, trust_domain, now));
  }
  TULLE_TRY(std::string token_key, open_token_key(cat(state_dir, "/token.key")));
  Authorities out{std::move(*root), std::move(*issuer), std::move(roots), std::move(token_key)};
  TULLE_TRY(bool renewed, renew_issuer(out, state_dir, trust_domain, now));
  (void)renewed;
  return out;
}

Result<bool> renew_issuer(Authorities& a, const std::string& state_dir, const std::string& trust_domain, WallTime now) {
  if (a.issuer.not_after() - now > kRenewBefore) return false;
  TULLE_TRY(tls::Authority issuer, make_issuer(a.root, cat(state_dir, "/issuer"), trust_domain, now));
  a.issuer = std::move(issuer);
  return true;
}

}  // namespace tulle::control
