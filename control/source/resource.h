// The resources of a mesh as values: Kubernetes' own, under Kubernetes' names, whatever the source they come from.
// A resource is immutable once read; the index shares it. Any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/time.h"

namespace tulle::control {

using Labels = std::map<std::string, std::string, std::less<>>;

// (namespace, name): what a namespaced resource of one kind is known by.
struct Ref {
  std::string ns;
  std::string name;
  auto operator<=>(const Ref&) const = default;
  std::string to_string() const { return ns + "/" + name; }
};

struct Metadata {
  std::string ns;
  std::string name;
  Labels labels;
  Labels annotations;
  int64_t created = 0;  // seconds of Unix time; 0 where the source does not say. Older wins, then the lesser name
  std::string origin;   // for people: "shop.yaml:12", "workload api-1"

  Ref ref() const { return {ns, name}; }
  // The value of an annotation, or nothing.
  std::optional<std::string_view> annotation(std::string_view key) const;
};

// A port by number or by name.
using PortRef = std::variant<uint16_t, std::string>;
std::string to_string(const PortRef& port);

// Which pods: all of match_labels and all of the expressions. An empty one selects all.
struct LabelSelector {
  enum class Operator : uint8_t { kIn, kNotIn, kExists, kDoesNotExist };
  struct Expression {
    std::string key;
    Operator op = Operator::kExists;
    std::vector<std::string> values;
  };
  Labels match_labels;
  std::vector<Expression> expressions;

  bool selects(const Labels& labels) const;
};

struct Namespace {
  Metadata meta;  // its ns is ""
};

struct ServicePort {
  std::string name;  // "" only where the Service has one port
  uint16_t port = 0;
  PortRef target;                           // a number or the name of a pod's port
  std::optional<std::string> app_protocol;  // "http", "kubernetes.io/h2c", "linkerd.io/opaque", …
};

struct Service {
  Metadata meta;
  std::vector<ServicePort> ports;
  Labels selector;            // empty: the pods that were registered for it (tulle run --service), or its slices
  bool headless = false;      // clusterIP: None
  std::string external_name;  // type ExternalName
  bool publish_not_ready = false;
  bool implied = false;  // no manifest declares it: made from the flags of the workloads that serve it

  const ServicePort* find_port(uint16_t port) const;
};

// Endpoints given by hand, for instances that are no pods of this mesh (EndpointSlice without targetRef).
struct EndpointSlice {
  struct Port {
    std::string name;
    uint16_t port = 0;
  };
  struct Endpoint {
    std::vector<IpAddr> addresses;
    bool ready = true;
    std::string hostname;
    std::string zone;
  };
  Metadata meta;
  std::string service;  // label kubernetes.io/service-name
  std::vector<Port> ports;
  std::vector<Endpoint> endpoints;
};

// policy.linkerd.io Server (reference: control-plane.md §2.1).
struct Server {
  enum class Protocol : uint8_t { kUnknown, kHttp1, kHttp2, kGrpc, kOpaque, kTls };
  Metadata meta;
  LabelSelector pods;
  bool selects_external = false;  // externalWorkloadSelector: selects no pod
  PortRef port;
  Protocol protocol = Protocol::kUnknown;
  std::string access_policy = "deny";  // one of the default policies
};

// --- HTTPRoute, of policy.linkerd.io and of gateway.networking.k8s.io ---

struct ParentRef {
  std::string group;  // "" and "core" are both core, kept as ""
  std::string kind;
  std::string ns;
  std::string name;
  std::optional<uint16_t> port;
  std::string section;
};

enum class PathMatchKind : uint8_t { kExact, kPrefix, kRegex };

struct ValueMatch {  // of a header or of a query parameter
  std::string name;
  std::string value;
  bool regex = false;
};

struct RouteMatch {
  PathMatchKind path_kind = PathMatchKind::kPrefix;
  std::string path = "/";
  std::vector<ValueMatch> headers;
  std::vector<ValueMatch> query;
  std::string method;  // "": any
};

struct HeaderModifier {
  bool response = false;
  std::vector<std::pair<std::string, std::string>> add;
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> remove;
};

struct Redirect {
  std::string scheme;  // "", "http" or "https"
  std::string host;
  std::optional<std::string> full_path;
  std::optional<std::string> path_prefix;
  std::optional<uint16_t> port;
  uint16_t status = 302;
};

// A filter that this version cannot do: a rule with one refuses its requests rather than pass them unfiltered.
struct UnsupportedFilter {
  std::string type;
};

using RouteFilter = std::variant<HeaderModifier, Redirect, UnsupportedFilter>;

struct BackendRef {
  std::string group;
  std::string kind = "Service";
  std::string ns;
  std::string name;
  std::optional<uint16_t> port;
  uint32_t weight = 1;
  std::vector<RouteFilter> filters;
};

struct RouteRule {
  std::vector<RouteMatch> matches;  // empty: everything
  std::vector<RouteFilter> filters;
  std::vector<BackendRef> backends;
  bool has_backends = false;  // backendRefs was given, even if empty
  std::optional<Duration> request_timeout;
  std::optional<Duration> backend_timeout;
};

struct HttpRoute {
  Metadata meta;
  std::string group;
  std::vector<ParentRef> parents;
  std::vector<std::string> hostnames;
  std::vector<RouteRule> rules;
};

// A running instance. In local mode it exists for as long as its registration.
struct PodPort {
  std::string name;
  uint16_t port = 0;    // what the application listens on, and what policies speak of
  uint16_t served = 0;  // what peers connect to (DESIGN §7.6)
};

struct Pod {
  Metadata meta;
  std::string service;  // tulle run --service; "" for a mere client
  std::string service_account = "default";
  IpAddr address;
  std::vector<PodPort> ports;
  bool ready = false;
  bool meshed = true;

  const PodPort* find_port(const PortRef& port) const;
};

enum class Kind : uint8_t { kNamespace, kService, kEndpointSlice, kServer, kHttpRoute, kPod };
std::string_view kind_name(Kind kind);

using Resource = std::variant<Namespace, Service, EndpointSlice, Server, HttpRoute, Pod>;
Kind kind_of(const Resource& resource);
const Metadata& metadata_of(const Resource& resource);

// What a resource is known by, over all kinds. HTTPRoutes of the two groups are two kinds with one name space each.
struct ResourceKey {
  Kind kind = Kind::kService;
  std::string group;  // only for kHttpRoute
  std::string ns;
  std::string name;
  auto operator<=>(const ResourceKey&) const = default;
  // "Service shop/api"
  std::string to_string() const;
};
ResourceKey key_of(const Resource& resource);

// What a source tells the index: this is what `key` is now, or (null) that it is gone.
struct Event {
  ResourceKey key;
  std::shared_ptr<const Resource> resource;
};

}  // namespace tulle::control
