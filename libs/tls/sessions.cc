#include "libs/tls/sessions.h"

#include <openssl/aead.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

#include "libs/tls/internal.h"

namespace tulle::tls {

void FreeSession::operator()(ssl_session_st* p) const { SSL_SESSION_free(p); }

// --- SessionCache

void SessionCache::erase(std::multimap<Key, Entries::iterator>::iterator at) {
  entries_.erase(at->second);
  by_server_.erase(at);
}

void SessionCache::put(IpAddr ip, const std::string& sni, std::shared_ptr<const Peer> peer, SessionPtr session,
                       WallTime until) {
  Key key(ip, sni);
  std::lock_guard lock(mutex_);
  if (auto [first, last] = by_server_.equal_range(key); static_cast<size_t>(std::distance(first, last)) >= kMaxOfOne) {
    erase(first);
  } else if (entries_.size() >= kMax) {
    auto oldest = by_server_.lower_bound(entries_.front().key);  // the first of its server is the oldest of it
    erase(oldest);
    ++evictions_;
  }
  entries_.push_back({key, std::move(peer), std::move(session), until});
  by_server_.emplace(std::move(key), std::prev(entries_.end()));
}

SessionPtr SessionCache::take(IpAddr ip, const std::string& sni, const Identity& expected, WallTime now) {
  std::lock_guard lock(mutex_);
  auto [first, last] = by_server_.equal_range(Key(ip, sni));
  while (first != last) {
    auto at = std::prev(last);
    Entry& e = *at->second;
    bool valid = now <= e.until && now >= e.peer->not_before && now <= e.peer->not_after;
    if (valid && !e.peer->is(expected)) {  // another workload has, or had, that address
      last = at;
      continue;
    }
    SessionPtr session = std::move(e.session);
    bool only = at == first;
    erase(at);
    if (valid) return session;
    if (only) break;
  }
  return nullptr;
}

size_t SessionCache::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

uint64_t SessionCache::evictions() const {
  std::lock_guard lock(mutex_);
  return evictions_;
}

// --- TicketKey

namespace {

constexpr size_t kNonce = 12, kTag = 16, kHash = 32, kHead = 1 + kHash + 8;
static_assert(kNonce + kHead + kTag == TicketKey::kOverhead);

const uint8_t* bytes_of(std::string_view s) { return reinterpret_cast<const uint8_t*>(s.data()); }

}  // namespace

void TicketKey::Free::operator()(evp_aead_ctx_st* p) const { EVP_AEAD_CTX_free(p); }

Result<std::unique_ptr<TicketKey>> TicketKey::make() {
  uint8_t key[16];
  auto made = std::make_unique<TicketKey>();
  if (RAND_bytes(key, sizeof key))
    made->aead_.reset(EVP_AEAD_CTX_new(EVP_aead_aes_128_gcm(), key, sizeof key, EVP_AEAD_DEFAULT_TAG_LENGTH));
  OPENSSL_cleanse(key, sizeof key);
  if (!made->aead_) return internal_failure("ticket key");
  return made;
}

size_t TicketKey::seal(std::string_view sni, const TicketHead& head, Bytes session, uint8_t* out, size_t room) const {
  if (room < session.size() + kOverhead || !RAND_bytes(out, kNonce)) return 0;
  uint8_t* plain = out + kNonce;
  std::memset(plain, 0, kHead);
  plain[0] = !head.leaf_hash.empty();
  head.leaf_hash.copy(reinterpret_cast<char*>(plain + 1), kHash);
  int64_t until = posix_seconds(head.until);
  std::memcpy(plain + 1 + kHash, &until, sizeof until);
  std::memcpy(plain + kHead, session.data(), session.size());
  size_t size = 0;
  if (!EVP_AEAD_CTX_seal(aead_.get(), plain, &size, room - kNonce, out, kNonce, plain, kHead + session.size(),
                         bytes_of(sni), sni.size()))
    return 0;
  return kNonce + size;
}

std::optional<TicketHead> TicketKey::open(std::string_view sni, Bytes ticket, uint8_t* out, size_t& size) const {
  if (ticket.size() <= kOverhead || ticket.size() > kMaxTicket) return std::nullopt;
  size_t n = 0;
  if (!EVP_AEAD_CTX_open(aead_.get(), out, &n, ticket.size(), bytes_of(ticket), kNonce, bytes_of(ticket) + kNonce,
                         ticket.size() - kNonce, bytes_of(sni), sni.size())) {
    ERR_clear_error();
    return std::nullopt;
  }
  int64_t until;
  std::memcpy(&until, out + 1 + kHash, sizeof until);
  TicketHead head(out[0] ? std::string(reinterpret_cast<const char*>(out + 1), kHash) : std::string(),
                  wall_time(until));
  size = n - kHead;
  std::memmove(out, out + kHead, size);
  return head;
}

}  // namespace tulle::tls
