// The answers of the policy role as JSON.
#include <nlohmann/json.hpp>

#include "control/api/json.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

using Json = nlohmann::json;

Json metadata(const wire::Metadata& m) {
  if (m.is_default()) return {{"default", m.name}};
  Json out = {{"group", m.group}, {"kind", m.kind}, {"name", m.name}};
  if (!m.ns.empty()) out["namespace"] = m.ns;
  if (m.port != 0) out["port"] = m.port;
  if (!m.section.empty()) out["section"] = m.section;
  return out;
}

Json hosts(const std::vector<wire::HostMatch>& list) {
  Json out = Json::array();
  for (const auto& h : list) out.push_back((h.kind == wire::HostMatch::Kind::kSuffix ? "*." : "") + h.name);
  return out;
}

Json value_matches(const std::vector<wire::ValueMatch>& list) {
  Json out = Json::array();
  for (const auto& v : list) out.push_back({{"name", v.name}, {v.regex ? "regex" : "exact", v.value}});
  return out;
}

Json matches(const std::vector<wire::RouteMatch>& list) {
  constexpr std::string_view kPaths[] = {"exact", "prefix", "regex"};
  Json out = Json::array();
  for (const auto& m : list) {
    Json item = Json::object();
    if (m.path) item["path"] = {{std::string(kPaths[static_cast<size_t>(m.path->kind)]), m.path->text}};
    if (m.method) item["method"] = *m.method;
    if (!m.headers.empty()) item["headers"] = value_matches(m.headers);
    if (!m.query.empty()) item["query"] = value_matches(m.query);
    if (m.rpc) item["rpc"] = {{"service", m.rpc->service}, {"method", m.rpc->method}};
    out.push_back(std::move(item));
  }
  return out;
}

Json headers(const wire::HeaderModifier& m) { return {{"add", m.add}, {"set", m.set}, {"remove", m.remove}}; }

struct FilterJson {
  Json operator()(const wire::UnknownFilter&) const { return "unknown"; }
  Json operator()(const wire::InjectHttpFailure& f) const {
    return {{"failure", {{"status", f.status}, {"message", f.message}}}};
  }
  Json operator()(const wire::InjectGrpcFailure& f) const {
    return {{"failure", {{"code", f.code}, {"message", f.message}}}};
  }
  Json operator()(const wire::Redirect& r) const {
    Json out = {{"status", r.status}};
    if (!r.scheme.empty()) out["scheme"] = r.scheme;
    if (!r.host.empty()) out["host"] = r.host;
    if (r.port != 0) out["port"] = r.port;
    if (r.full_path) out["path"] = *r.full_path;
    if (r.path_prefix) out["pathPrefix"] = *r.path_prefix;
    return {{"redirect", std::move(out)}};
  }
  Json operator()(const wire::ModifyRequest& m) const { return {{"requestHeaders", headers(m.headers)}}; }
  Json operator()(const wire::ModifyResponse& m) const { return {{"responseHeaders", headers(m.headers)}}; }
  Json operator()(const wire::Invalid& i) const { return {{"invalid", i.message}}; }
  Json operator()(const wire::Forbidden&) const { return "forbidden"; }
};
Json filters(const std::vector<wire::Filter>& list) {
  Json out = Json::array();
  for (const auto& f : list) out.push_back(std::visit(FilterJson{}, f));
  return out;
}

Json backend(const wire::RouteBackend& b, bool weighted) {
  Json out = {{"backend", metadata(b.backend.metadata)}};
  if (auto* balancer = std::get_if<wire::Balancer>(&b.backend.kind)) out["balancer"] = balancer->path;
  if (auto* forward = std::get_if<wire::Endpoint>(&b.backend.kind)) out["forward"] = forward->addr.to_string();
  if (weighted) out["weight"] = b.weight;
  if (!b.filters.empty()) out["filters"] = filters(b.filters);
  if (b.request_timeout) out["timeout"] = format_duration(*b.request_timeout);
  return out;
}

Json distribution(const wire::Distribution& d) {
  constexpr std::string_view kKinds[] = {"empty", "firstAvailable", "randomAvailable"};
  Json list = Json::array();
  for (const auto& b : d.backends) list.push_back(backend(b, d.kind == wire::Distribution::Kind::kRandomAvailable));
  return {{std::string(kKinds[static_cast<size_t>(d.kind)]), std::move(list)}};
}

Json routes(const std::vector<wire::Route>& list) {
  Json out = Json::array();
  for (const auto& r : list) {
    Json rules = Json::array();
    for (const auto& rule : r.rules) {
      Json item = {{"backends", distribution(rule.backends)}};
      if (!rule.matches.empty()) item["matches"] = matches(rule.matches);
      if (!rule.filters.empty()) item["filters"] = filters(rule.filters);
      if (rule.timeouts.request) item["timeouts"]["request"] = format_duration(*rule.timeouts.request);
      if (rule.timeouts.response) item["timeouts"]["response"] = format_duration(*rule.timeouts.response);
      if (rule.timeouts.idle) item["timeouts"]["idle"] = format_duration(*rule.timeouts.idle);
      rules.push_back(std::move(item));
    }
    Json route = {{"route", metadata(r.metadata)}, {"rules", std::move(rules)}};
    if (!r.hosts.empty()) route["hosts"] = hosts(r.hosts);
    out.push_back(std::move(route));
  }
  return out;
}

Json authorizations(const std::vector<wire::Authz>& list) {
  constexpr std::string_view kAuthn[] = {"nobody", "unauthenticated", "tls", "identities"};
  Json out = Json::array();
  for (const auto& a : list) {
    Json networks = Json::array();
    for (const auto& n : a.networks) networks.push_back(n.net.to_string());
    Json item = {{"authorization", metadata(a.metadata)},
                 {"networks", std::move(networks)},
                 {"authentication", kAuthn[static_cast<size_t>(a.authn)]}};
    if (!a.identities.empty()) item["identities"] = a.identities;
    for (const std::string& s : a.suffixes) item["identities"].push_back(s.empty() ? "*" : "*." + s);
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace

Json to_json(const wire::OutboundPolicy& p) {
  using Kind = wire::OutboundPolicy::Kind;
  constexpr std::string_view kKinds[] = {"detect", "opaque", "http1", "http2", "grpc", "tls"};
  Json out = {{"target", metadata(p.metadata)}, {"protocol", kKinds[static_cast<size_t>(p.kind)]}};
  if (p.kind == Kind::kDetect) out["detectTimeout"] = format_duration(p.detect_timeout);
  if (p.kind == Kind::kDetect || p.kind == Kind::kOpaque) out["opaque"] = routes(p.opaque);
  if (p.kind == Kind::kDetect || p.kind == Kind::kHttp1) out["http1"] = routes(p.http1.routes);
  if (p.kind == Kind::kDetect || p.kind == Kind::kHttp2) out["http2"] = routes(p.http2.routes);
  if (p.kind == Kind::kGrpc) out["grpc"] = routes(p.grpc.routes);
  if (p.kind == Kind::kTls) out["tls"] = routes(p.tls);
  return out;
}

Json to_json(const wire::Server& s) {
  constexpr std::string_view kKinds[] = {"detect", "opaque", "tls", "http1", "http2", "grpc"};
  Json out = {{"server", s.labels},
              {"protocol", kKinds[static_cast<size_t>(s.kind)]},
              {"authorizations", authorizations(s.authorizations)}};
  if (s.kind == wire::Server::Kind::kDetect) out["detectTimeout"] = format_duration(s.detect_timeout);
  Json list = Json::array();
  for (const auto& r : s.routes) {
    Json rules = Json::array();
    for (const auto& rule : r.rules) {
      Json item = {{"matches", matches(rule.matches)}};
      if (!rule.filters.empty()) item["filters"] = filters(rule.filters);
      rules.push_back(std::move(item));
    }
    Json route = {{"route", metadata(r.metadata)}, {"rules", std::move(rules)}};
    if (!r.hosts.empty()) route["hosts"] = hosts(r.hosts);
    if (!r.authorizations.empty()) route["authorizations"] = authorizations(r.authorizations);
    list.push_back(std::move(route));
  }
  if (!list.empty()) out["routes"] = std::move(list);
  return out;
}

}  // namespace tulle::control
