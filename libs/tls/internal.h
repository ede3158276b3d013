// What the files of libs/tls share: AWS-LC's types by name only, so that no header needs its headers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libs/tls/cert.h"
#include "libs/tls/verify.h"

struct evp_pkey_st;
struct x509_st;
struct x509_store_st;
struct X509_name_st;
struct ssl_ctx_st;

namespace tulle::tls {

struct FreeKey { void operator()(evp_pkey_st* p) const; };
struct FreeX509 { void operator()(x509_st* p) const; };
struct FreeStore { void operator()(x509_store_st* p) const; };
using KeyPtr = std::unique_ptr<evp_pkey_st, FreeKey>;
using X509Ptr = std::unique_ptr<x509_st, FreeX509>;
using StorePtr = std::unique_ptr<x509_store_st, FreeStore>;

struct PrivateKey::Impl {
  KeyPtr key;  // AWS-LC wipes all memory that it frees
};

struct TrustBundle::Impl {
  std::vector<std::string> ders;
  StorePtr store;  // its look-ups lock themselves
};

// The latest error that AWS-LC has left for this thread, "REASON"; empties its queue.
std::string library_error();
// kInternal "WHAT: <library_error()>": for calls that only fail for want of memory or randomness.
std::unexpected<Error> internal_failure(std::string_view what);

// One certificate and nothing after it.
Result<X509Ptr> parse_x509(Bytes der);
std::string der_of(x509_st* cert);
CertInfo info_of(x509_st* cert);
std::vector<Identity> identities_of(x509_st* cert);
// SubjectPublicKeyInfo.
std::string spki_of(const evp_pkey_st* key);
Result<KeyPtr> parse_spki(Bytes der);
// The only CN of a name; "" when there is none, nothing when there are several.
std::optional<std::string> common_name(X509_name_st* name);
// Beyond what a WallTime can hold is its end.
WallTime wall_time(int64_t posix_seconds);
int64_t posix_seconds(WallTime t);

// verify_peer() with more to choose: no role asks for nothing about key usage.
Result<Peer> verify_path(std::span<const Bytes> chain, const TrustBundle& roots, std::optional<PeerRole> role, WallTime now);

}  // namespace tulle::tls
