// Context: everything that the TLS sessions of one workload share — its key and certificate, whom it trusts, and the
// settings. An immutable snapshot for both roles, shared between threads; renewal makes a new one, and connections made
// with the old one go on undisturbed.
//
// TLS 1.3 only; groups X25519MLKEM768, X25519, P-256, P-384; AES-128-GCM first where the CPU has AES.
//
// Sessions are resumed (RFC 8446 §2.2, always with a new key exchange, never with early data), within one context only:
// with other keys, certificates or roots everybody proves again who he is. A resumed session gives the peer that its
// full handshake gave, for as long as the certificates of both ends are valid, at most for an hour.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/base/time.h"
#include "libs/tls/cert.h"
#include "libs/tls/verify.h"

namespace tulle::tls {

// What we present.
struct Credentials {
  PrivateKey key;
  std::vector<std::string> chain;  // DER, leaf first; a self-signed root need not be in it
};

struct ContextOptions {
  std::optional<Credentials> credentials;  // none: a client without a certificate; such a context cannot accept
  TrustBundle roots;
  // Our own name: the leaf must carry it. Ignored without credentials.
  std::optional<Identity> identity;
  // SNI names that accept() takes, lower case; another name, or none at all, ends the handshake. Empty: any.
  std::vector<std::string> server_names;
  bool resumption = true;
  WallTime (*wall_clock)() = nullptr;  // nullptr: the system's

  explicit ContextOptions(TrustBundle r) : roots(std::move(r)) {}
};

class Context {
 public:
  // Verifies our own certificate first: chain, dates, key, name.
  // Errors: kInvalid: not a certificate, key does not fit. kIdentity: does not lead to a root, expired, wrong name.
  static Result<std::shared_ptr<const Context>> make(ContextOptions options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const std::optional<Identity>& identity() const;
  // The earliest end in our own chain; WallTime::max() without credentials.
  WallTime not_after() const;
  // When our own chain begins to be valid; the epoch without credentials.
  WallTime not_before() const;
  const TrustBundle& roots() const;

  // Peers whose certificate was verified with this context are remembered by the hash of their leaf (at most 1024,
  // until they expire), since a proxy meets the same ones again and again.
  struct CacheStats {
    uint64_t hits = 0, misses = 0;
    size_t size = 0;
  };
  CacheStats cache_stats() const;
  // Sessions to resume with servers; bounded too: evictions are those that had to go for others.
  struct SessionStats {
    size_t size = 0;
    uint64_t evictions = 0;
  };
  SessionStats session_stats() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for libs/tls only
  explicit Context(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace tulle::tls
