#include "control/api/json.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "libs/base/strings.h"

namespace tulle::control {
namespace {

using Json = nlohmann::json;

Json metadata(const Metadata& m) {
  Json out = {{"name", m.name}};
  if (!m.ns.empty()) out["namespace"] = m.ns;
  if (!m.labels.empty()) out["labels"] = m.labels;
  if (!m.annotations.empty()) out["annotations"] = m.annotations;
  if (!m.origin.empty()) out["annotations"]["tulle.dev/origin"] = m.origin;
  return out;
}

Json object(std::string_view version, std::string_view kind, const Metadata& m) {
  return {{"apiVersion", version}, {"kind", kind}, {"metadata", metadata(m)}};
}

Json port_ref(const PortRef& p) {
  if (auto* number = std::get_if<uint16_t>(&p)) return *number;
  return std::get<std::string>(p);
}

Json render(const Namespace& n) { return object("v1", "Namespace", n.meta); }

Json render(const Service& s) {
  Json out = object("v1", "Service", s.meta);
  Json ports = Json::array();
  for (const ServicePort& p : s.ports) {
    Json port = {{"port", p.port}, {"targetPort", port_ref(p.target)}, {"protocol", "TCP"}};
    if (!p.name.empty()) port["name"] = p.name;
    if (p.app_protocol) port["appProtocol"] = *p.app_protocol;
    ports.push_back(std::move(port));
  }
  out["spec"] = {{"ports", std::move(ports)}, {"type", s.external_name.empty() ? "ClusterIP" : "ExternalName"}};
  if (!s.selector.empty()) out["spec"]["selector"] = s.selector;
  if (s.headless) out["spec"]["clusterIP"] = "None";
  if (!s.external_name.empty()) out["spec"]["externalName"] = s.external_name;
  if (s.implied) out["metadata"]["annotations"]["tulle.dev/implied"] = "true";
  return out;
}

Json render(const EndpointSlice& e) {
  Json out = object("discovery.k8s.io/v1", "EndpointSlice", e.meta);
  out["addressType"] = "IPv4";
  out["ports"] = Json::array();
  for (const auto& p : e.ports) out["ports"].push_back({{"name", p.name}, {"port", p.port}});
  out["endpoints"] = Json::array();
  for (const auto& endpoint : e.endpoints) {
    Json addresses = Json::array();
    for (IpAddr ip : endpoint.addresses) addresses.push_back(ip.to_string());
    out["endpoints"].push_back({{"addresses", std::move(addresses)}, {"conditions", {{"ready", endpoint.ready}}}});
  }
  return out;
}

std::string_view protocol_name(Server::Protocol p) {
  switch (p) {
    case Server::Protocol::kHttp1: return "HTTP/1";
    case Server::Protocol::kHttp2: return "HTTP/2";
    case Server::Protocol::kGrpc: return "gRPC";
    case Server::Protocol::kOpaque: return "opaque";
    case Server::Protocol::kTls: return "TLS";
    case Server::Protocol::kUnknown: break;
  }
  return "unknown";
}

Json render(const Server& s) {
  Json out = object("policy.linkerd.io/v1beta3", "Server", s.meta);
  out["spec"] = {
      {"port", port_ref(s.port)},
      {"proxyProtocol", protocol_name(s.protocol)},
      {"accessPolicy", s.access_policy},
      {s.selects_external ? "externalWorkloadSelector" : "podSelector", {{"matchLabels", s.pods.match_labels}}}};
  return out;
}

Json parents(const HttpRoute& r) {
  Json out = Json::array();
  for (const ParentRef& p : r.parents) {
    Json parent = {{"group", p.group}, {"kind", p.kind}, {"namespace", p.ns}, {"name", p.name}};
    if (p.port) parent["port"] = *p.port;
    if (!p.section.empty()) parent["sectionName"] = p.section;
    out.push_back(std::move(parent));
  }
  return out;
}

Json matches(const RouteRule& rule) {
  Json out = Json::array();
  for (const RouteMatch& m : rule.matches) {
    constexpr std::string_view kPathKinds[] = {"Exact", "PathPrefix", "RegularExpression"};
    Json match = {{"path", {{"type", kPathKinds[static_cast<size_t>(m.path_kind)]}, {"value", m.path}}}};
    if (!m.method.empty()) match["method"] = m.method;
    auto values = [&](std::string_view field, const std::vector<ValueMatch>& list) {
      for (const ValueMatch& v : list)
        match[std::string(field)].push_back(
            {{"name", v.name}, {"value", v.value}, {"type", v.regex ? "RegularExpression" : "Exact"}});
    };
    values("headers", m.headers);
    values("queryParams", m.query);
    out.push_back(std::move(match));
  }
  return out;
}

Json render(const HttpRoute& r) {
  bool policy = r.group == "policy.linkerd.io";
  Json out = object(policy ? "policy.linkerd.io/v1beta3" : "gateway.networking.k8s.io/v1", "HTTPRoute", r.meta);
  Json rules = Json::array();
  for (const RouteRule& rule : r.rules) {
    Json item = Json::object();
    if (!rule.matches.empty()) item["matches"] = matches(rule);
    for (const BackendRef& b : rule.backends) {
      Json backend = {{"kind", b.kind}, {"namespace", b.ns}, {"name", b.name}, {"weight", b.weight}};
      if (!b.group.empty()) backend["group"] = b.group;
      if (b.port) backend["port"] = *b.port;
      item["backendRefs"].push_back(std::move(backend));
    }
    if (rule.request_timeout) item["timeouts"]["request"] = format_duration(*rule.request_timeout);
    if (rule.backend_timeout) item["timeouts"]["backendRequest"] = format_duration(*rule.backend_timeout);
    rules.push_back(std::move(item));
  }
  out["spec"] = {{"parentRefs", parents(r)}, {"rules", std::move(rules)}};
  if (!r.hostnames.empty()) out["spec"]["hostnames"] = r.hostnames;
  return out;
}

Json render(const Pod& p) {
  Json out = object("v1", "Pod", p.meta);
  Json ports = Json::array();
  for (const PodPort& port : p.ports) {
    Json item = {{"containerPort", port.port}, {"protocol", "TCP"}, {"tulle.dev/servedPort", port.served}};
    if (!port.name.empty()) item["name"] = port.name;
    ports.push_back(std::move(item));
  }
  out["spec"] = {{"serviceAccountName", p.service_account},
                 {"containers", Json::array({{{"name", "app"}, {"ports", std::move(ports)}}})}};
  out["status"] = {{"phase", "Running"},
                   {"podIP", p.address.to_string()},
                   {"conditions", Json::array({{{"type", "Ready"}, {"status", p.ready ? "True" : "False"}}})}};
  return out;
}

}  // namespace

Json to_json(const Resource& resource) {
  return std::visit([](const auto& r) { return render(r); }, resource);
}

Json to_json(const ServiceEntry& entry) {
  Json out = render(*entry.spec);
  if (entry.address) out["spec"]["clusterIP"] = entry.address->to_string();
  return out;
}

std::vector<Json> slices(const ServiceEntry& entry) {
  std::map<std::string, Json> by_ports;
  const Metadata& service = entry.spec->meta;
  for (const PodPtr& pod : entry.pods) {
    Json ports = Json::array();
    for (const ServicePort& p : entry.spec->ports)
      if (const PodPort* own = pod->find_port(p.target))
        ports.push_back({{"name", p.name}, {"port", own->served}, {"protocol", "TCP"}});
    Json& slice = by_ports[ports.dump()];
    if (slice.is_null()) {
      EndpointSlice made;
      made.meta.ns = service.ns;
      made.meta.name = service.name;
      made.meta.labels = {{"kubernetes.io/service-name", service.name}};
      if (by_ports.size() > 1) append(made.meta.name, "-", by_ports.size());
      slice = render(made);
      slice["ports"] = std::move(ports);
    }
    slice["endpoints"].push_back({{"addresses", Json::array({pod->address.to_string()})},
                                  {"conditions", {{"ready", pod->ready}}},
                                  {"targetRef", {{"kind", "Pod"}, {"name", pod->meta.name}}}});
  }
  std::vector<Json> out;
  for (auto& [ports, slice] : by_ports) out.push_back(std::move(slice));
  std::ranges::sort(out, {}, [](const Json& s) { return s["metadata"]["name"].get<std::string>(); });
  return out;
}

Json to_json(const Problem& p) {
  return {{"severity", p.is_error() ? "error" : "warning"},
          {"file", p.file},
          {"line", p.line},
          {"resource", p.resource},
          {"field", p.field},
          {"message", p.message},
          {"text", p.to_string()}};
}

Json to_json(const wire::Endpoint& e) {
  constexpr std::string_view kHints[] = {"none", "h2", "opaque"};
  Json out = {{"ip", e.addr.ip.to_string()},
              {"port", e.addr.port},
              {"weight", e.weight},
              {"labels", e.labels},
              {"identity", e.tls ? e.tls->id : ""},
              {"protocol", kHints[static_cast<size_t>(e.hint)]}};
  if (auto pod = e.labels.find("pod"); pod != e.labels.end()) out["pod"] = pod->second;
  if (e.opaque_transport_port != 0) out["transport_port"] = e.opaque_transport_port;
  return out;
}

}  // namespace tulle::control
