// What the files of libs/tls share: AWS-LC's types by name only, so that no header needs its headers.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libs/tls/cert.h"
#include "libs/tls/context.h"
#include "libs/tls/sessions.h"
#include "libs/tls/verify.h"

struct evp_pkey_st;
struct x509_st;
struct x509_store_st;
struct X509_name_st;
struct ssl_st;
struct ssl_ctx_st;
struct crypto_buffer_pool_st;
struct ssl_session_st;

namespace tulle::tls {

struct FreeKey {
  void operator()(evp_pkey_st* p) const;
};
struct FreeX509 {
  void operator()(x509_st* p) const;
};
struct FreeStore {
  void operator()(x509_store_st* p) const;
};
using KeyPtr = std::unique_ptr<evp_pkey_st, FreeKey>;
using X509Ptr = std::unique_ptr<x509_st, FreeX509>;
struct FreeSslContext {
  void operator()(ssl_ctx_st* p) const;
};
struct FreePool {
  void operator()(crypto_buffer_pool_st* p) const;
};
using StorePtr = std::unique_ptr<x509_store_st, FreeStore>;

using SslContextPtr = std::unique_ptr<ssl_ctx_st, FreeSslContext>;

struct PrivateKey::Impl {
  KeyPtr key;  // AWS-LC wipes all memory that it frees
};

struct TrustBundle::Impl {
  std::vector<std::string> ders;
  StorePtr store;  // its look-ups lock themselves
};

// Remembers verified peers; see Context. Any thread.
class PeerCache {
 public:
  static constexpr size_t kMax = 1024;
  // Null: not known, or not valid at `now`.
  std::shared_ptr<const Peer> find(PeerRole role, const std::string& leaf_hash, WallTime now);
  void add(PeerRole role, std::string leaf_hash, std::shared_ptr<const Peer> peer);
  Context::CacheStats stats() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<PeerRole, std::string>, std::shared_ptr<const Peer>> peers_;
  uint64_t hits_ = 0, misses_ = 0;
};

struct Context::Impl {
  // One copy of each certificate, however many connections meet it. Their sessions point into it: a stream holds its
  // context for as long as it lives.
  std::unique_ptr<crypto_buffer_pool_st, FreePool> pool;
  SslContextPtr ssl;
  TrustBundle roots;
  bool has_credentials = false;
  std::optional<Identity> identity;
  std::vector<std::string> server_names;
  WallTime not_before{}, not_after = WallTime::max();
  WallTime (*wall_clock)();
  mutable PeerCache cache;
  // Null: sessions are not resumed.
  std::unique_ptr<TicketKey> ticket_key;
  mutable SessionCache sessions;

  explicit Impl(TrustBundle r) : roots(std::move(r)) {}
  // verify_peer() with what we trust, now, remembered.
  Result<std::shared_ptr<const Peer>> verify(std::span<const Bytes> chain, PeerRole role) const;
};

// What the SSL objects of a context call during their handshake; defined in tls_stream.cc. 1: fine.
int on_peer_chain(ssl_st* ssl, uint8_t* alert);
int on_server_name(ssl_st* ssl);
// Chooses from the client's list (wire format) and gives a view of it, or "" for none.
std::string_view on_alpn(ssl_st* ssl, std::string_view offered);
// A server has sent a ticket. 1: the session is ours now.
int on_session(ssl_st* ssl, ssl_session_st* session);
// A server makes a ticket of `session`: the size of what it has written to `out`, 0 for an error.
size_t on_seal_ticket(ssl_st* ssl, Bytes session, uint8_t* out, size_t room);
// A client offers a ticket: the size of the session that was in it, 0 to go on without.
size_t on_open_ticket(ssl_st* ssl, Bytes ticket, uint8_t* out);

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
Result<Peer> verify_path(std::span<const Bytes> chain, const TrustBundle& roots, std::optional<PeerRole> role,
                         WallTime now);

}  // namespace tulle::tls
