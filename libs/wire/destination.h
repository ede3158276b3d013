// Discovery (io.linkerd.proxy.destination): endpoints and profiles. See types.h for the rules of encode and decode.
#pragma once

#include "libs/wire/types.h"

namespace tulle::wire {

inline constexpr std::string_view kDestinationGet = "/io.linkerd.proxy.destination.Destination/Get";
inline constexpr std::string_view kDestinationGetProfile = "/io.linkerd.proxy.destination.Destination/GetProfile";

// The request of both.
struct GetDestination {
  std::string scheme;
  std::string path;           // "name:port" or "ip:port"
  std::string context_token;  // what the injector gave the proxy: {"ns": …, "nodeName": …, "pod": …}
  bool operator==(const GetDestination&) const = default;
};

// Who must answer a TLS connection, and the SNI to send.
struct TlsIdentity {
  enum class Kind : uint8_t { kDns, kUri };
  Kind kind = Kind::kDns;
  std::string id;           // never empty
  std::string server_name;  // never empty; of a DNS-like identity without one: the identity
  bool operator==(const TlsIdentity&) const = default;
};

enum class ProtocolHint : uint8_t { kNone, kH2, kOpaque };

struct Http2KeepAlive {
  std::optional<Duration> interval;
  std::optional<Duration> timeout;
  bool while_idle = false;
  bool operator==(const Http2KeepAlive&) const = default;
};
struct Http2Params {
  // 0: not said.
  uint32_t connection_window = 0;
  uint32_t stream_window = 0;
  bool adaptive_window = false;
  std::optional<Http2KeepAlive> keep_alive;
  uint32_t max_concurrent_reset_streams = 0;
  uint32_t max_frame_size = 0;
  uint32_t max_send_buffer = 0;
  bool operator==(const Http2Params&) const = default;
};

struct Endpoint {
  SocketAddr addr;  // port ≥ 1
  uint32_t weight = 10000;
  Labels labels;
  std::optional<TlsIdentity> tls;  // none: plaintext
  ProtocolHint hint = ProtocolHint::kNone;
  uint16_t opaque_transport_port = 0;  // where its proxy takes the transport header; 0: nowhere
  std::string authority_override;      // "": none
  std::optional<Http2Params> http2;
  Metadata resource;
  bool operator==(const Endpoint&) const = default;
};

// One step of a Get stream. What of it could not be used (an endpoint with port 0, …) is left out and described in
// `ignored`, for the log: one bad endpoint must not take its service away.
struct Update {
  enum class Kind : uint8_t { kAdd, kRemove, kNoEndpoints };
  Kind kind = Kind::kAdd;
  std::vector<Endpoint> add;  // new or changed
  Labels labels;              // of the set; kAdd only
  std::vector<SocketAddr> remove;
  bool exists = false;  // kNoEndpoints: the service is there
  std::vector<std::string> ignored;
  bool operator==(const Update&) const = default;
};

struct RequestMatch {
  enum class Kind : uint8_t { kAll, kAny, kNot, kPath, kMethod };
  Kind kind = Kind::kAll;
  std::vector<RequestMatch> parts;  // kAll, kAny: any number; kNot: one
  std::string text;                 // kPath: a regular expression for the whole path; kMethod: "GET", …
  bool operator==(const RequestMatch&) const = default;
};

struct ResponseMatch {
  enum class Kind : uint8_t { kAll, kAny, kNot, kStatus };
  Kind kind = Kind::kAll;
  std::vector<ResponseMatch> parts;  // as in RequestMatch
  uint16_t min = 0;                  // kStatus: both ends included
  uint16_t max = 0;
  bool operator==(const ResponseMatch&) const = default;
};

struct ResponseClass {
  ResponseMatch condition;
  bool is_failure = false;
  bool operator==(const ResponseClass&) const = default;
};

struct ProfileRoute {
  RequestMatch condition;
  std::vector<ResponseClass> response_classes;
  Labels labels;
  bool retryable = false;
  std::optional<Duration> timeout;
  bool operator==(const ProfileRoute&) const = default;
};

struct RetryBudget {
  float ratio = 0.2f;  // 0–1000
  uint32_t min_per_second = 10;
  Duration ttl = 10s;  // 1–60 s
  bool operator==(const RetryBudget&) const = default;
};

struct WeightedDst {
  std::string authority;  // "name:port"
  uint32_t weight = 0;
  Metadata backend;
  bool operator==(const WeightedDst&) const = default;
};

// A message of a GetProfile stream. `ignored` as in Update: a budget out of range, a route without a condition.
struct DestinationProfile {
  std::string name;  // fully qualified; "": no profile, use the outbound policy
  bool opaque = false;
  std::vector<ProfileRoute> routes;
  std::optional<RetryBudget> retry_budget;
  std::vector<WeightedDst> dst_overrides;
  std::optional<Endpoint> endpoint;  // the target is this one endpoint
  Metadata parent;
  Metadata profile;
  std::vector<std::string> ignored;
  bool operator==(const DestinationProfile&) const = default;
};

std::string encode(const GetDestination& v);
std::string encode(const Update& v);
std::string encode(const DestinationProfile& v);
Result<GetDestination> decode_get_destination(Bytes bytes);
Result<Update> decode_update(Bytes bytes);
Result<DestinationProfile> decode_profile(Bytes bytes);

}  // namespace tulle::wire
