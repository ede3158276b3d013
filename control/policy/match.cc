#include "control/policy/match.h"

#include "libs/base/strings.h"

namespace tulle::control {

wire::Metadata route_metadata(const HttpRoute& route) {
  return {route.group, "HTTPRoute", route.meta.name, route.meta.ns, "", 0};
}

std::vector<wire::HostMatch> host_matches(const std::vector<std::string>& hostnames) {
  std::vector<wire::HostMatch> out;
  for (const std::string& h : hostnames) {
    if (h.starts_with("*.")) out.push_back({wire::HostMatch::Kind::kSuffix, h.substr(2)});
    else out.push_back({wire::HostMatch::Kind::kExact, h});
  }
  return out;
}

std::vector<wire::RouteMatch> route_matches(const std::vector<RouteMatch>& matches) {
  std::vector<wire::RouteMatch> out;
  for (const RouteMatch& m : matches) {
    wire::RouteMatch match;
    using K = wire::PathMatch::Kind;
    K kind = m.path_kind == PathMatchKind::kExact    ? K::kExact
             : m.path_kind == PathMatchKind::kPrefix ? K::kPrefix
                                                     : K::kRegex;
    match.path = wire::PathMatch{kind, m.path};
    if (!m.method.empty()) match.method = m.method;
    for (const ValueMatch& h : m.headers) match.headers.push_back({h.name, h.regex, h.value});
    for (const ValueMatch& q : m.query) match.query.push_back({q.name, q.regex, q.value});
    out.push_back(std::move(match));
  }
  return out;
}

wire::RouteMatch match_all() {
  wire::RouteMatch out;
  out.path = wire::PathMatch{wire::PathMatch::Kind::kPrefix, "/"};
  return out;
}

wire::Filter failure(uint16_t status, std::string message) {
  return wire::InjectHttpFailure{status, std::move(message), {1, 1}};
}

std::vector<wire::Filter> route_filters(const std::vector<RouteFilter>& filters, bool inbound) {
  std::vector<wire::Filter> out;
  for (const RouteFilter& filter : filters) {
    if (auto* headers = std::get_if<HeaderModifier>(&filter)) {
      wire::HeaderModifier m{headers->add, headers->set, headers->remove};
      if (!headers->response) out.push_back(wire::ModifyRequest{std::move(m)});
      else if (!inbound) out.push_back(wire::ModifyResponse{std::move(m)});
    } else if (auto* r = std::get_if<Redirect>(&filter)) {
      out.push_back(wire::Redirect{r->scheme, r->host, r->full_path, r->path_prefix, r->port.value_or(0), r->status});
    } else {
      out.push_back(failure(500, cat("filter ", std::get<UnsupportedFilter>(filter).type, " is not supported")));
    }
  }
  return out;
}

}  // namespace tulle::control
