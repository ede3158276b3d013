// What several messages of the control API share: where configuration comes from, and routes.
//
// libs/wire turns the bytes of gRPC messages into plain values and back, and is the only place that sees generated
// code. `encode` never fails; `decode_…` checks everything (ports, durations, weights, enums, sizes) and its error
// names the field: "http1.routes[0].rules[2].backends: …". Regular expressions stay text. All functions are pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/base/strings.h"
#include "libs/base/time.h"

namespace tulle::wire {

// Metric labels.
using Labels = std::map<std::string, std::string>;

// The origin of a piece of configuration: a Kubernetes resource, or a default with a name, which has group "" and
// kind "default" (as Linkerd labels it). Kind "": not said.
struct Metadata {
  std::string group;
  std::string kind;
  std::string name;
  std::string ns;
  std::string section;
  uint16_t port = 0;  // 0: none

  static Metadata default_named(std::string name) { return {"", "default", std::move(name), "", "", 0}; }
  bool is_default() const { return group.empty() && kind == "default"; }
  bool operator==(const Metadata&) const = default;
};

// A host (HTTP) or server name (TLS). kSuffix: "example.com" stands for "*.example.com", with one or more labels in
// front of it.
struct HostMatch {
  enum class Kind : uint8_t { kExact, kSuffix };
  Kind kind = Kind::kExact;
  std::string name;
  bool operator==(const HostMatch&) const = default;
};

struct PathMatch {
  enum class Kind : uint8_t { kExact, kPrefix, kRegex };
  Kind kind = Kind::kPrefix;
  std::string text = "/";
  bool operator==(const PathMatch&) const = default;
};

// Of a header (name in lower case) or a query parameter.
struct ValueMatch {
  std::string name;
  bool regex = false;
  std::string value;
  bool operator==(const ValueMatch&) const = default;
};

// At least one is set; an empty one matches any.
struct RpcMatch {
  std::string service;
  std::string method;
  bool operator==(const RpcMatch&) const = default;
};

// All parts that are there must match. HTTP routes use all but rpc; gRPC routes use rpc and headers.
struct RouteMatch {
  std::optional<PathMatch> path;
  std::optional<std::string> method;  // "GET", …; any token
  std::vector<ValueMatch> headers;
  std::vector<ValueMatch> query;
  std::optional<RpcMatch> rpc;
  bool operator==(const RouteMatch&) const = default;
};

// Out of `denominator` requests, `numerator` are affected; denominator ≥ 1.
struct Ratio {
  uint32_t numerator = 1;
  uint32_t denominator = 1;
  bool operator==(const Ratio&) const = default;
};

struct InjectHttpFailure {
  uint16_t status = 500;  // 100–999
  std::string message;
  Ratio ratio;
  bool operator==(const InjectHttpFailure&) const = default;
};
struct InjectGrpcFailure {
  uint8_t code = 13;  // 0–16
  std::string message;
  Ratio ratio;
  bool operator==(const InjectGrpcFailure&) const = default;
};
struct Redirect {
  std::string scheme;  // "": as in the request
  std::string host;    // "": as in the request
  std::optional<std::string> full_path;
  std::optional<std::string> path_prefix;  // replaces the part that the rule's prefix matched; not with full_path
  uint16_t port = 0;                       // 0: not said
  uint16_t status = 301;                   // 300–399
  bool operator==(const Redirect&) const = default;
};
using HeaderList = std::vector<std::pair<std::string, std::string>>;
// Applied in the order add, set, remove. Names in lower case.
struct HeaderModifier {
  HeaderList add;
  HeaderList set;
  std::vector<std::string> remove;
  bool operator==(const HeaderModifier&) const = default;
};
struct ModifyRequest {
  HeaderModifier headers;
  bool operator==(const ModifyRequest&) const = default;
};
struct ModifyResponse {
  HeaderModifier headers;
  bool operator==(const ModifyResponse&) const = default;
};
// Opaque and TLS routes: connections are closed. Invalid: the route is broken, `message` says how.
struct Invalid {
  std::string message;
  bool operator==(const Invalid&) const = default;
};
struct Forbidden {
  bool operator==(const Forbidden&) const = default;
};
// A kind of filter from a newer control plane. Skipping it could open what it guards, so its requests fail.
struct UnknownFilter {
  bool operator==(const UnknownFilter&) const = default;
};
using Filter = std::variant<UnknownFilter, InjectHttpFailure, InjectGrpcFailure, Redirect, ModifyRequest,
                            ModifyResponse, Invalid, Forbidden>;

struct Timeouts {
  std::optional<Duration> response;  // request sent → end of response
  std::optional<Duration> request;   // begin of request → end of response, retries included
  std::optional<Duration> idle;      // no frame either way
  bool operator==(const Timeouts&) const = default;
};

}  // namespace tulle::wire
