// Our own RPCs beside Linkerd's (tulle.dev): names for the pod's resolver, trust bundles, set digests.
// See types.h for the rules of encode and decode.
#pragma once

#include "libs/wire/destination.h"
#include "libs/wire/types.h"

namespace tulle::wire {

inline constexpr std::string_view kNamesWatch = "/tulle.dev.Names/Watch";
inline constexpr std::string_view kTrustBundlesWatch = "/tulle.dev.TrustBundles/Watch";
inline constexpr std::string_view kDigestsCheck = "/tulle.dev.Digests/Check";

struct WatchNamesRequest {
  std::string workload;  // as TrafficSpec::source_workload
  bool operator==(const WatchNamesRequest&) const = default;
};

struct Name {
  std::string name;               // full, lower case, no dot at the end
  std::vector<IpAddr> addresses;  // none: the name exists and has no address
  bool operator==(const Name&) const = default;
};

// The whole table, at first and after each change. At most 100,000 names of at most 1,000 addresses each.
struct NameTable {
  uint64_t version = 0;
  std::vector<Name> names;
  std::vector<std::string> search;  // tried in order after a name without a match: "default.svc.cluster.local", …
  std::vector<std::string> zones;   // a name below one of these that is not in the table does not exist
  Duration ttl = 5s;                // whole seconds
  bool operator==(const NameTable&) const = default;
};

struct WatchTrustBundleRequest {
  std::string workload;
  bool operator==(const WatchTrustBundleRequest&) const = default;
};

struct TrustBundle {
  std::string anchors_pem;           // never empty
  std::vector<std::string> revoked;  // SHA-256 fingerprints, 32 bytes each
  bool operator==(const TrustBundle&) const = default;
};

struct SetDigest {
  enum class Kind : uint8_t { kUnknown, kDestination, kProfile, kOutboundPolicy, kInboundPolicy };
  Kind kind = Kind::kUnknown;
  std::string key;  // the path, the target or the port of the subscription
  uint64_t digest = 0;
  bool operator==(const SetDigest&) const = default;
};

struct CheckDigestsRequest {
  std::string workload;
  std::string context_token;
  std::vector<SetDigest> held;
  bool operator==(const CheckDigestsRequest&) const = default;
};

struct CheckDigestsResponse {
  std::vector<uint32_t> differ;  // indices into `held`
  bool operator==(const CheckDigestsResponse&) const = default;
};

// Digest of one endpoint by the fields that decide where requests go and who must answer: address, weight, TLS,
// hint, opaque-transport port, authority override. A set's digest is the sum over its endpoints, so both ends keep it
// up to date by adding and subtracting.
uint64_t endpoint_digest(const Endpoint& e);
// Digest of a message (a profile, a policy) by its bytes as sent and received.
uint64_t message_digest(Bytes bytes);

std::string encode(const WatchNamesRequest& v);
std::string encode(const NameTable& v);
std::string encode(const WatchTrustBundleRequest& v);
std::string encode(const TrustBundle& v);
std::string encode(const CheckDigestsRequest& v);
std::string encode(const CheckDigestsResponse& v);
Result<WatchNamesRequest> decode_watch_names_request(Bytes bytes);
Result<NameTable> decode_name_table(Bytes bytes);
Result<WatchTrustBundleRequest> decode_watch_trust_bundle_request(Bytes bytes);
Result<TrustBundle> decode_trust_bundle(Bytes bytes);
Result<CheckDigestsRequest> decode_check_digests_request(Bytes bytes);
Result<CheckDigestsResponse> decode_check_digests_response(Bytes bytes);

}  // namespace tulle::wire
