#include "proxy/model/filter.h"

namespace tulle::proxy {
namespace {

using http::HeaderId;

// What frames a message, names its connection or is the proxies' own between themselves.
bool is_protected(HeaderId id) {
  switch (id) {
    case HeaderId::kContentLength:
    case HeaderId::kTransferEncoding:
    case HeaderId::kConnection:
    case HeaderId::kUpgrade:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
    case HeaderId::kTe:
    case HeaderId::kTrailer:
    case HeaderId::kHttp2Settings:
    case HeaderId::kHost:
    case HeaderId::kL5dOrigProto:
    case HeaderId::kL5dClientId: return true;
    default: return false;
  }
}

void modify(const wire::HeaderModifier& m, http::Headers& headers) {
  for (const auto& [name, value] : m.add)
    if (!is_protected(http::header_id(name))) headers.add(name, value);
  for (const auto& [name, value] : m.set)
    if (!is_protected(http::header_id(name))) headers.set(name, value);
  for (const auto& name : m.remove)
    if (!is_protected(http::header_id(name))) headers.remove(name);
}

void modify_request(const wire::HeaderModifier& m, http::RequestHead& head) {
  modify(m, head.headers);
  // The host may be another, but never missing or doubled.
  for (const auto& [name, value] : m.set) {
    if (name != "host" || value.empty()) continue;
    head.authority = value;
    if (head.headers.has(HeaderId::kHost)) head.headers.set(HeaderId::kHost, value);
  }
}

bool happens(const wire::Ratio& ratio, Rng& rng) {
  return rng.below(std::max(ratio.denominator, 1u)) < ratio.numerator;
}

uint16_t default_port(std::string_view scheme) { return scheme == "http" ? 80 : scheme == "https" ? 443 : 0; }

struct Authority {
  std::string_view host;  // with brackets
  uint16_t port = 0;      // 0: none
};
Authority parse_authority(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == text.npos || text.find(']', colon) != text.npos) return {text, 0};
  return {text.substr(0, colon), parse_number<uint16_t>(text.substr(colon + 1)).value_or(0)};
}

// The path and query that a redirect leads to; nothing: the rule did not match by a prefix, so there is none to
// replace.
std::optional<std::string> redirect_path(const wire::Redirect& r, const RuleMatch& match, std::string_view target) {
  std::string_view path = target.substr(0, target.find('?'));
  std::string_view query = target.substr(path.size());
  if (r.full_path) return cat(*r.full_path, r.full_path->find('?') == std::string::npos ? query : "");
  if (!r.path_prefix) return std::string(target);
  if (match.path != RuleMatch::Path::kPrefix) return std::nullopt;
  std::string_view rest = path.substr(std::min<size_t>(match.prefix, path.size()));
  std::string out = *r.path_prefix;
  // One slash where the two meet.
  while (out.ends_with('/') && (out.size() > 1 || rest.starts_with('/'))) out.pop_back();
  if (!rest.empty() && rest[0] != '/') out.push_back('/');
  append(out, rest, query);
  if (!out.starts_with('/')) out.insert(0, "/");
  return out;
}

std::optional<ProxyError> redirect(const wire::Redirect& r, const RuleMatch& match, const http::RequestHead& head,
                                   std::string_view scheme) {
  std::string_view old_scheme = head.scheme.empty() ? scheme : std::string_view(head.scheme);
  Authority old = parse_authority(head.authority);
  if (old.port == default_port(old_scheme)) old.port = 0;
  std::string_view old_path = head.path.empty() ? "/" : std::string_view(head.path);

  std::string_view new_scheme = r.scheme.empty() ? old_scheme : std::string_view(r.scheme);
  std::string_view host = r.host.empty() ? old.host : std::string_view(r.host);
  // Without a port of its own, another scheme brings its own default port.
  uint16_t port = r.port != 0 ? r.port : r.scheme.empty() ? old.port : 0;
  if (port == default_port(new_scheme)) port = 0;
  auto path = redirect_path(r, match, old_path);
  if (!path)
    return ProxyError(Reason::kUnexpected, "a redirect replaces the prefix of a rule that did not match by prefix");
  if (new_scheme == old_scheme && host == old.host && port == old.port && *path == old_path) return std::nullopt;

  ProxyError e(Reason::kRedirect, "redirected by the route");
  e.http_status = r.status;
  e.location = cat(new_scheme, "://", host, port ? cat(':', port) : "", *path);
  return e;
}

}  // namespace

std::optional<ProxyError> filter_request(std::span<const wire::Filter> filters, const RuleMatch& match,
                                         http::RequestHead& head, std::string_view scheme, Rng& rng) {
  for (const auto& filter : filters) {
    if (auto* m = std::get_if<wire::ModifyRequest>(&filter)) {
      modify_request(m->headers, head);
    } else if (auto* f = std::get_if<wire::InjectHttpFailure>(&filter)) {
      if (!happens(f->ratio, rng)) continue;
      ProxyError e(Reason::kInjectedHttp, f->message);
      e.http_status = f->status;
      return e;
    } else if (auto* g = std::get_if<wire::InjectGrpcFailure>(&filter)) {
      if (!happens(g->ratio, rng)) continue;
      ProxyError e(Reason::kInjectedGrpc, g->message);
      e.grpc_status = g->code;
      return e;
    } else if (auto* r = std::get_if<wire::Redirect>(&filter)) {
      if (auto e = redirect(*r, match, head, scheme)) return e;
    } else if (!std::holds_alternative<wire::ModifyResponse>(filter)) {
      return ProxyError(Reason::kInvalidPolicy, "the route has a filter that this proxy does not know");
    }
  }
  return std::nullopt;
}

void filter_response(std::span<const wire::Filter> filters, http::ResponseHead& head) {
  for (const auto& filter : filters)
    if (auto* m = std::get_if<wire::ModifyResponse>(&filter)) modify(m->headers, head.headers);
}

std::optional<ProxyError> filter_stream(std::span<const wire::Filter> filters) {
  if (filters.empty()) return std::nullopt;
  if (std::holds_alternative<wire::Forbidden>(filters[0]))
    return ProxyError(Reason::kForbidden, "the route forbids this target");
  if (auto* i = std::get_if<wire::Invalid>(&filters[0]))
    return ProxyError(Reason::kInvalidPolicy, cat("invalid route: ", i->message));
  return ProxyError(Reason::kInvalidPolicy, "the route has a filter that this proxy does not know");
}

}  // namespace tulle::proxy
