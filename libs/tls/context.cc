#include "libs/tls/context.h"

#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "libs/tls/internal.h"

namespace tulle::tls {

void FreeSslContext::operator()(ssl_ctx_st* p) const { SSL_CTX_free(p); }
void FreePool::operator()(crypto_buffer_pool_st* p) const { CRYPTO_BUFFER_POOL_free(p); }

namespace {

constexpr size_t kMaxPeerChainBytes = 64 * 1024;

WallTime system_wall_clock() { return std::chrono::system_clock::now(); }

// AWS-LC reads the system's clock for sessions; what depends on ours is checked in tls_stream.cc.
Result<> configure_sessions(SSL_CTX* ctx, Context::Impl& impl, bool wanted) {
  if (!wanted) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    return {};
  }
  TULLE_TRY(impl.ticket_key, TicketKey::make());
  static constexpr SSL_TICKET_AEAD_METHOD kTickets = {
      .max_overhead = [](SSL*) -> size_t { return TicketKey::kOverhead; },
      .seal = [](SSL* ssl, uint8_t* out, size_t* size, size_t room, const uint8_t* in, size_t in_size) -> int {
        *size = on_seal_ticket(ssl, {reinterpret_cast<const char*>(in), in_size}, out, room);
        return *size != 0;
      },
      .open =
          [](SSL* ssl, uint8_t* out, size_t* size, size_t, const uint8_t* in, size_t in_size) {
            *size = on_open_ticket(ssl, {reinterpret_cast<const char*>(in), in_size}, out);
            return *size ? ssl_ticket_aead_success : ssl_ticket_aead_ignore_ticket;
          }};
  SSL_CTX_set_ticket_aead_method(ctx, &kTickets);
  SSL_CTX_set_num_tickets(ctx, 1);
  SSL_CTX_set_session_psk_dhe_timeout(ctx, static_cast<uint32_t>(kSessionLifetime / 1s));
  // A session of a server holds the hash of the client's leaf, not the certificates; of these is told by PeerCache.
  SSL_CTX_set_retain_only_sha256_of_client_certs(ctx, 1);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, [](SSL* ssl, SSL_SESSION* session) { return on_session(ssl, session); });
  // A client looks at the server's certificate again when it resumes.
  SSL_CTX_set_reverify_on_resume(ctx, 1);
  return {};
}

bool configure(SSL_CTX* ctx) {
  static constexpr uint16_t kSignatures[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
                                             SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_ED25519,
                                             SSL_SIGN_RSA_PSS_RSAE_SHA256,    SSL_SIGN_RSA_PSS_RSAE_SHA384,
                                             SSL_SIGN_RSA_PSS_RSAE_SHA512};
  if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) || !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
      !SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768:X25519:P-256:P-384") ||
      !SSL_CTX_set_verify_algorithm_prefs(ctx, kSignatures, std::size(kSignatures)))
    return false;
  // Buffers are always released when empty (AWS-LC's default).
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(ctx, kMaxPeerChainBytes);
  // A server asks for a certificate and takes none as an answer; a client always sees one.
  SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER, [](SSL* ssl, uint8_t* alert) {
    return on_peer_chain(ssl, alert) ? ssl_verify_ok : ssl_verify_invalid;
  });
  SSL_CTX_set_tlsext_servername_callback(
      ctx, [](SSL* ssl, int*, void*) { return on_server_name(ssl) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL; });
  SSL_CTX_set_alpn_select_cb(
      ctx,
      [](SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* in, unsigned in_size, void*) {
        std::string_view chosen = on_alpn(ssl, {reinterpret_cast<const char*>(in), in_size});
        if (chosen.empty()) return SSL_TLSEXT_ERR_NOACK;
        *out = reinterpret_cast<const uint8_t*>(chosen.data());
        *out_size = static_cast<uint8_t>(chosen.size());
        return SSL_TLSEXT_ERR_OK;
      },
      nullptr);
  return true;
}

Result<> use_credentials(Context::Impl& impl, const Credentials& credentials) {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> owned;
  std::vector<CRYPTO_BUFFER*> chain;
  for (const std::string& der : credentials.chain) {
    owned.emplace_back(CRYPTO_BUFFER_new(reinterpret_cast<const uint8_t*>(der.data()), der.size(), impl.pool.get()));
    chain.push_back(owned.back().get());
  }
  if (!SSL_CTX_set_chain_and_key(impl.ssl.get(), chain.data(), chain.size(), credentials.key.impl().key.get(), nullptr))
    return fail(Code::kInvalid, cat("own certificate: ", library_error()));
  return {};
}

// Our own certificate must be one that our peers will accept.
Result<> check_own(Context::Impl& impl, const Credentials& credentials, WallTime now) {
  if (credentials.chain.empty()) return fail(Code::kInvalid, "own certificate: none given");
  TULLE_TRY(CertInfo info, read_cert(credentials.chain.front()));
  if (info.public_key != credentials.key.public_key())
    return fail(Code::kInvalid, "own certificate: it is for another key");
  for (PeerRole role : {PeerRole::kServer, PeerRole::kClient}) {
    auto self = verify_chain(credentials.chain, impl.roots, role, now);
    if (!self) {
      Error e = std::move(self).error().with("own certificate");
      e.side = Side::kSelf;
      return fail(std::move(e));
    }
    if (impl.identity && !self->is(*impl.identity))
      return fail(Code::kIdentity, cat("own certificate: it does not carry ", impl.identity->name(), " but ",
                                       self->identity() ? self->identity()->name() : "no name"));
    impl.not_before = self->not_before;
    impl.not_after = self->not_after;
    if (!impl.identity && self->identity()) impl.identity = *self->identity();
  }
  return {};
}

}  // namespace

// --- PeerCache

std::shared_ptr<const Peer> PeerCache::find(PeerRole role, const std::string& leaf_hash, WallTime now) {
  std::lock_guard lock(mutex_);
  auto at = peers_.find({role, leaf_hash});
  if (at == peers_.end() || now < at->second->not_before || now > at->second->not_after) {
    ++misses_;
    if (at != peers_.end()) peers_.erase(at);
    return nullptr;
  }
  ++hits_;
  return at->second;
}

void PeerCache::add(PeerRole role, std::string leaf_hash, std::shared_ptr<const Peer> peer) {
  std::lock_guard lock(mutex_);
  // Only verified peers get here, so that filling it takes as many certificates of the mesh.
  if (peers_.size() >= kMax) peers_.clear();
  peers_.insert_or_assign({role, std::move(leaf_hash)}, std::move(peer));
}

Context::CacheStats PeerCache::stats() const {
  std::lock_guard lock(mutex_);
  return {hits_, misses_, peers_.size()};
}

// --- Context

Result<std::shared_ptr<const Peer>> Context::Impl::verify(std::span<const Bytes> chain, PeerRole role) const {
  WallTime now = wall_clock();
  // A leaf that has led to a root once does so whatever comes with it.
  std::string hash = chain.empty() ? std::string() : sha256(chain.front());
  if (auto known = cache.find(role, hash, now)) return known;
  TULLE_TRY(Peer peer, verify_path(chain, roots, role, now));
  auto shared = std::make_shared<const Peer>(std::move(peer));
  cache.add(role, std::move(hash), shared);
  return shared;
}

Result<std::shared_ptr<const Context>> Context::make(ContextOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options.roots));
  impl->wall_clock = options.wall_clock ? options.wall_clock : system_wall_clock;
  impl->server_names = std::move(options.server_names);
  impl->pool.reset(CRYPTO_BUFFER_POOL_new());
  impl->ssl.reset(SSL_CTX_new(TLS_with_buffers_method()));
  if (!impl->pool || !impl->ssl || !configure(impl->ssl.get())) return internal_failure("TLS context");
  SSL_CTX_set0_buffer_pool(impl->ssl.get(), impl->pool.get());
  TULLE_TRY_VOID(configure_sessions(impl->ssl.get(), *impl, options.resumption));
  if (options.credentials) {
    impl->has_credentials = true;
    impl->identity = std::move(options.identity);
    TULLE_TRY_VOID(check_own(*impl, *options.credentials, impl->wall_clock()));
    TULLE_TRY_VOID(use_credentials(*impl, *options.credentials));
  }
  return std::make_shared<const Context>(std::move(impl));
}

Context::Context(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Context::~Context() = default;

const std::optional<Identity>& Context::identity() const { return impl_->identity; }
WallTime Context::not_after() const { return impl_->not_after; }
WallTime Context::not_before() const { return impl_->not_before; }
const TrustBundle& Context::roots() const { return impl_->roots; }
Context::CacheStats Context::cache_stats() const { return impl_->cache.stats(); }
Context::SessionStats Context::session_stats() const { return {impl_->sessions.size(), impl_->sessions.evictions()}; }

}  // namespace tulle::tls
