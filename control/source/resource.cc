#include "control/source/resource.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::control {

std::optional<std::string_view> Metadata::annotation(std::string_view key) const {
  auto it = annotations.find(key);
  if (it == annotations.end()) return std::nullopt;
  return it->second;
}

std::string to_string(const PortRef& port) {
  if (auto* number = std::get_if<uint16_t>(&port)) return std::to_string(*number);
  return std::get<std::string>(port);
}

bool LabelSelector::selects(const Labels& labels) const {
  for (const auto& [key, value] : match_labels) {
    auto it = labels.find(key);
    if (it == labels.end() || it->second != value) return false;
  }
  for (const Expression& e : expressions) {
    auto it = labels.find(e.key);
    bool has = it != labels.end();
    bool in = has && std::find(e.values.begin(), e.values.end(), it->second) != e.values.end();
    switch (e.op) {
      case Operator::kIn:
        if (!in) return false;
        break;
      case Operator::kNotIn:
        if (in) return false;
        break;
      case Operator::kExists:
        if (!has) return false;
        break;
      case Operator::kDoesNotExist:
        if (has) return false;
        break;
    }
  }
  return true;
}

const ServicePort* Service::find_port(uint16_t number) const {
  for (const ServicePort& p : ports)
    if (p.port == number) return &p;
  return nullptr;
}

const PodPort* Pod::find_port(const PortRef& port) const {
  for (const PodPort& p : ports) {
    if (auto* number = std::get_if<uint16_t>(&port)) {
      if (p.port == *number) return &p;
    } else if (p.name == std::get<std::string>(port)) {
      return &p;
    }
  }
  return nullptr;
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNamespace: return "Namespace";
    case Kind::kService: return "Service";
    case Kind::kEndpointSlice: return "EndpointSlice";
    case Kind::kServer: return "Server";
    case Kind::kHttpRoute: return "HTTPRoute";
    case Kind::kPod: return "Pod";
  }
  return "";
}

Kind kind_of(const Resource& resource) {
  struct Visitor {
    Kind operator()(const Namespace&) const { return Kind::kNamespace; }
    Kind operator()(const Service&) const { return Kind::kService; }
    Kind operator()(const EndpointSlice&) const { return Kind::kEndpointSlice; }
    Kind operator()(const Server&) const { return Kind::kServer; }
    Kind operator()(const HttpRoute&) const { return Kind::kHttpRoute; }
    Kind operator()(const Pod&) const { return Kind::kPod; }
  };
  return std::visit(Visitor{}, resource);
}

const Metadata& metadata_of(const Resource& resource) {
  return std::visit([](const auto& r) -> const Metadata& { return r.meta; }, resource);
}

std::string ResourceKey::to_string() const {
  std::string out(kind_name(kind));
  if (kind == Kind::kHttpRoute && group != "policy.linkerd.io") append(out, ".", group);
  append(out, " ");
  if (!ns.empty()) append(out, ns, "/");
  return out + name;
}

ResourceKey key_of(const Resource& resource) {
  const Metadata& meta = metadata_of(resource);
  ResourceKey key{kind_of(resource), "", meta.ns, meta.name};
  if (auto* route = std::get_if<HttpRoute>(&resource)) key.group = route->group;
  return key;
}

}  // namespace tulle::control
