// Tap (io.linkerd.proxy.tap): a live view of what a proxy sees. See types.h for the rules of encode and decode.
#pragma once

#include "libs/wire/types.h"

namespace tulle::wire {

inline constexpr std::string_view kTapObserve = "/io.linkerd.proxy.tap.Tap/Observe";

struct TapMatch {
  enum class Kind : uint8_t {
    kAll,  // of parts, as the next two
    kAny,
    kNot,
    kSourceNet,    // net
    kSourcePorts,  // min–max
    kDestinationNet,
    kDestinationPorts,
    kDestinationLabel,  // key, text
    kRouteLabel,
    kScheme,  // text
    kMethod,
    kAuthority,  // text, exact or prefix
    kPath,
  };
  Kind kind = Kind::kAll;
  std::vector<TapMatch> parts;  // kAll, kAny: any number; kNot: one
  std::string key;
  std::string text;
  bool prefix = false;
  Cidr net;
  uint16_t min = 0;  // both ends included
  uint16_t max = 0;
  bool operator==(const TapMatch&) const = default;
};

struct ObserveRequest {
  uint32_t limit = 0;  // ≥ 1
  TapMatch match;
  bool extract_headers = false;
  bool operator==(const ObserveRequest&) const = default;
};

struct TapStreamId {
  uint32_t base = 0;  // one per Observe call
  uint64_t stream = 0;
  bool operator==(const TapStreamId&) const = default;
};
struct TapRequestInit {
  TapStreamId id;
  std::string method;
  std::string scheme;  // "": unknown
  std::string authority;
  std::string path;
  std::optional<HeaderList> headers;
  bool operator==(const TapRequestInit&) const = default;
};
struct TapResponseInit {
  TapStreamId id;
  Duration since_request = 0s;
  uint16_t status = 0;
  std::optional<HeaderList> headers;
  bool operator==(const TapResponseInit&) const = default;
};
struct TapResponseEnd {
  TapStreamId id;
  Duration since_request = 0s;
  Duration since_response = 0s;
  uint64_t response_bytes = 0;
  std::optional<uint32_t> grpc_status;
  std::optional<uint32_t> reset_code;  // not with grpc_status
  std::optional<HeaderList> trailers;
  bool operator==(const TapResponseEnd&) const = default;
};

struct TapEvent {
  enum class Direction : uint8_t { kUnknown, kInbound, kOutbound };
  SocketAddr source;
  SocketAddr destination;
  Labels source_labels;
  Labels destination_labels;
  Labels route_labels;
  Direction direction = Direction::kUnknown;
  std::variant<TapRequestInit, TapResponseInit, TapResponseEnd> event;
  bool operator==(const TapEvent&) const = default;
};

std::string encode(const ObserveRequest& v);
std::string encode(const TapEvent& v);
Result<ObserveRequest> decode_observe_request(Bytes bytes);
Result<TapEvent> decode_tap_event(Bytes bytes);

}  // namespace tulle::wire
