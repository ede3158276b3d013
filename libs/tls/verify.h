// Does a certificate chain lead to a root that we trust, and whose is it?
#pragma once

#include <span>
#include <vector>

#include "libs/tls/cert.h"

namespace tulle::tls {

// What the peer must be allowed to do (extended key usage, where the certificate limits it).
enum class PeerRole : uint8_t { kClient, kServer };

// A verified peer.
struct Peer {
  std::vector<Identity> identities;  // of the leaf, in the order of its SANs
  WallTime not_before;               // the latest of the chain
  WallTime not_after;                // the earliest of the chain

  // The peer's name for authorisation: the first one. Nothing: its certificate has no name that we know.
  const Identity* identity() const { return identities.empty() ? nullptr : &identities.front(); }
  bool is(const Identity& expected) const;
};

// `chain`: DER, leaf first; the others may be in any order, and superfluous. Any thread; about 150 µs.
// Errors: kInvalid: not certificates. kIdentity (Side::kPeer): expired, not yet valid, unknown root, not usable in that
// role; the reason names the certificate and the dates.
Result<Peer> verify_peer(std::span<const Bytes> chain, const TrustBundle& roots, PeerRole role, WallTime now);
// The same for one leaf and its issuers as a Certify answer has them.
Result<Peer> verify_chain(const std::vector<std::string>& chain, const TrustBundle& roots, PeerRole role, WallTime now);

}  // namespace tulle::tls
