// Resumption of TLS 1.3 sessions: what a context keeps of them as a client, and how it seals its tickets as a server.
// For libs/tls only.
//
// A session belongs to one context, that is to one key, certificate and trust bundle: each context seals with a random
// key of its own, which never leaves it, and offers only sessions that it made itself. So renewal of any of them, or
// another process, means a full handshake. A session says who the peer is; it never lives longer than the certificates
// that said so, nor more than kSessionLifetime after they were shown, however often it is resumed.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/base/time.h"
#include "libs/tls/context.h"
#include "libs/tls/verify.h"

struct ssl_session_st;
struct evp_aead_ctx_st;

namespace tulle::tls {

inline constexpr Duration kSessionLifetime = 1h;
// Larger tickets of others are not kept. OpenSSL's hold the client's certificates, 1 to 3 kB; ours have 200 bytes.
inline constexpr size_t kMaxTicket = 4096;

struct FreeSession {
  void operator()(ssl_session_st* p) const;
};
using SessionPtr = std::unique_ptr<ssl_session_st, FreeSession>;

// Sessions to offer to servers, each once: a server gives a new one with each connection. Any thread.
class SessionCache {
 public:
  static constexpr size_t kMax = 1024;  // about 1.5 kB each; beyond it the oldest goes
  static constexpr size_t kMaxOfOne = 8;

  // `ip`: of the server, for each pod of a workload has keys of its own. `until`: when the session ends.
  void put(IpAddr ip, const std::string& sni, std::shared_ptr<const Peer> peer, SessionPtr session, WallTime until);
  // The newest of that server whose certificate carried `expected` and is still valid; null when there is none.
  SessionPtr take(IpAddr ip, const std::string& sni, const Identity& expected, WallTime now);
  size_t size() const;
  uint64_t evictions() const;

 private:
  using Key = std::pair<IpAddr, std::string>;
  struct Entry {
    Key key;
    std::shared_ptr<const Peer> peer;
    SessionPtr session;
    WallTime until;
  };
  using Entries = std::list<Entry>;
  void erase(std::multimap<Key, Entries::iterator>::iterator at);

  mutable std::mutex mutex_;
  Entries entries_;                                  // the oldest first
  std::multimap<Key, Entries::iterator> by_server_;  // of one server, the oldest first
  uint64_t evictions_ = 0;
};

// What our tickets say beside AWS-LC's own state, which holds no certificate.
struct TicketHead {
  std::string leaf_hash;  // SHA-256 of the client's certificate, 32 bytes; "" for a client without one
  WallTime until;         // when the session ends, to the second
  TicketHead(std::string hash, WallTime u) : leaf_hash(std::move(hash)), until(u) {}
};

// Seals tickets: AES-128-GCM with a random nonce. Any thread.
class TicketKey {
 public:
  static Result<std::unique_ptr<TicketKey>> make();
  // Bytes that seal() adds.
  static constexpr size_t kOverhead = 12 + 1 + 32 + 8 + 16;
  // Writes at most `room` bytes to `out` and says how many; 0: it does not fit, or no randomness. `sni`: that of the
  // connection; the ticket is for no other.
  size_t seal(std::string_view sni, const TicketHead& head, Bytes session, uint8_t* out, size_t room) const;
  // Nothing: not a ticket of ours for that SNI. The session is written to `out`, of the ticket's size at least, and
  // `size` tells its length.
  std::optional<TicketHead> open(std::string_view sni, Bytes ticket, uint8_t* out, size_t& size) const;

 private:
  struct Free {
    void operator()(evp_aead_ctx_st* p) const;
  };
  std::unique_ptr<evp_aead_ctx_st, Free> aead_;
};

}  // namespace tulle::tls
