#include "proxy/model/route.h"

#include <algorithm>
#include <array>

#include "proxy/model/canonical.h"

namespace tulle::proxy {
namespace {

// Without the port: "[::1]:80" → "[::1]".
std::string_view host_of(std::string_view authority) {
  size_t colon = authority.rfind(':');
  if (colon == authority.npos || authority.find(']', colon) != authority.npos) return authority;
  return authority.substr(0, colon);
}

std::string_view without_slashes(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

// Decodes one byte of application/x-www-form-urlencoded text and drops it from `in`.
char next_decoded(std::string_view& in) {
  auto digit = [](char c) {
    return is_digit(c) ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
  };
  char c = in[0];
  if (c == '%' && in.size() >= 3 && digit(in[1]) >= 0 && digit(in[2]) >= 0) {
    c = static_cast<char>(digit(in[1]) << 4 | digit(in[2]));
    in.remove_prefix(3);
    return c;
  }
  in.remove_prefix(1);
  return c == '+' ? ' ' : c;
}
bool decodes_to(std::string_view encoded, std::string_view text) {
  while (!encoded.empty()) {
    if (text.empty() || next_decoded(encoded) != text[0]) return false;
    text.remove_prefix(1);
  }
  return text.empty();
}

// A header or query match.
struct Value {
  http::HeaderId id = http::HeaderId::kOther;
  std::string name;
  std::string exact;
  std::optional<Pattern> regex;

  bool matches(std::string_view value) const { return regex ? regex->matches(value) : value == exact; }
};

bool header_matches(const Value& want, const RequestView& request) {
  bool found = false;
  request.headers->for_each([&](const http::Header& h) {
    if (!found && h.id == want.id && (h.id != http::HeaderId::kOther || h.name == want.name))
      found = want.matches(h.value);
  });
  // HTTP/2 has no host field of its own.
  return found ||
         (want.id == http::HeaderId::kHost && !request.headers->has(want.id) && want.matches(request.authority));
}

bool query_matches(const Value& want, std::string_view query) {
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    size_t equals = std::min(pair.find('='), pair.size());
    if (!decodes_to(pair.substr(0, equals), want.name)) continue;
    std::string_view value = pair.substr(std::min(pair.size(), equals + 1));
    if (!want.regex) {
      if (decodes_to(value, want.exact)) return true;
    } else if (value.find_first_of("%+") == value.npos) {
      if (want.regex->matches(value)) return true;
    } else {
      std::string decoded;
      while (!value.empty()) decoded.push_back(next_decoded(value));
      if (want.regex->matches(decoded)) return true;
    }
  }
  return false;
}

// Most significant first, as route.h lists them.
using Key = std::array<uint32_t, 5>;

struct Match {
  std::optional<wire::PathMatch> path;  // a prefix without its trailing slashes
  std::optional<Pattern> path_regex;
  std::optional<std::string> method;
  std::vector<Value> headers;
  std::vector<Value> query;
  std::optional<wire::RpcMatch> rpc;
};

bool all_values_match(const Match& m, const RequestView& r) {
  return std::all_of(m.headers.begin(), m.headers.end(), [&](const Value& v) { return header_matches(v, r); }) &&
         std::all_of(m.query.begin(), m.query.end(), [&](const Value& v) { return query_matches(v, r.query); });
}

std::optional<Key> match_http(const Match& m, const RequestView& r, std::string_view path, RuleMatch& how) {
  uint32_t exact = 0;
  size_t length = 0;
  how.path = RuleMatch::Path::kAny;
  how.prefix = 0;
  if (m.path) {
    switch (m.path->kind) {
      case wire::PathMatch::Kind::kExact:
        if (path != m.path->text) return std::nullopt;
        how.path = RuleMatch::Path::kExact;
        exact = 1;
        length = path.size();
        break;
      case wire::PathMatch::Kind::kPrefix: {
        std::string_view prefix = m.path->text;
        if (!path.starts_with(prefix) || (!prefix.empty() && path.size() > prefix.size() && path[prefix.size()] != '/'))
          return std::nullopt;
        how.path = RuleMatch::Path::kPrefix;
        how.prefix = static_cast<uint32_t>(prefix.size());
        length = prefix.size();
        break;
      }
      case wire::PathMatch::Kind::kRegex:
        if (!m.path_regex->matches(path)) return std::nullopt;
        how.path = RuleMatch::Path::kRegex;
        length = path.size();
        break;
    }
  }
  if ((m.method && *m.method != r.method) || !all_values_match(m, r)) return std::nullopt;
  return Key{exact, static_cast<uint32_t>(length), m.method ? 1u : 0u, static_cast<uint32_t>(m.headers.size()),
             static_cast<uint32_t>(m.query.size())};
}

std::optional<Key> match_rpc(const Match& m, const RequestView& r, std::string_view path, RuleMatch& how) {
  // Path is /Service/Method (PROTOCOL-HTTP2.md).
  if (r.method != "POST" || !path.starts_with('/')) return std::nullopt;
  size_t slash = path.find('/', 1);
  std::string_view service = path.substr(1, slash == path.npos ? slash : slash - 1);
  std::string_view method = slash == path.npos ? std::string_view() : path.substr(slash + 1);
  if (m.rpc &&
      ((!m.rpc->service.empty() && m.rpc->service != service) || (!m.rpc->method.empty() && m.rpc->method != method)))
    return std::nullopt;
  if (!all_values_match(m, r)) return std::nullopt;
  how.path = m.rpc ? RuleMatch::Path::kRpc : RuleMatch::Path::kAny;
  how.prefix = 0;
  return Key{m.rpc ? static_cast<uint32_t>(m.rpc->service.size()) : 0,
             m.rpc ? static_cast<uint32_t>(m.rpc->method.size()) : 0, static_cast<uint32_t>(m.headers.size()), 0, 0};
}

Result<std::vector<Value>> compile_values(const std::vector<wire::ValueMatch>& in) {
  std::vector<Value> out;
  for (const auto& v : in) {
    Value value{http::header_id(v.name), v.name, v.value, std::nullopt};
    if (v.regex) {
      auto p = Pattern::compile(v.value);
      if (!p) return fail(std::move(p).error().with(cat("match of ", v.name)));
      value.regex = std::move(*p);
    }
    out.push_back(std::move(value));
  }
  return out;
}

Result<Match> compile_match(const wire::RouteMatch& in) {
  Match m{in.path, std::nullopt, in.method, {}, {}, in.rpc};
  if (m.path && m.path->kind != wire::PathMatch::Kind::kRegex) {
    std::string storage;
    m.path->text = std::string(canonical_path(m.path->text, storage));
  }
  if (m.path && m.path->kind == wire::PathMatch::Kind::kPrefix) m.path->text = without_slashes(m.path->text);
  if (m.path && m.path->kind == wire::PathMatch::Kind::kRegex) {
    TULLE_TRY(m.path_regex, Pattern::compile(m.path->text));
  }
  TULLE_TRY(m.headers, compile_values(in.headers));
  TULLE_TRY(m.query, compile_values(in.query));
  return m;
}

// How well a host matches one of these: {2, length} exact, {1, length} suffix; {0, 0} for an empty list.
std::optional<std::array<uint32_t, 2>> match_hosts(const std::vector<wire::HostMatch>& hosts, std::string_view host) {
  if (hosts.empty()) return std::array<uint32_t, 2>{0, 0};
  std::optional<std::array<uint32_t, 2>> best;
  std::string_view plain = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
  for (const auto& h : hosts) {
    auto size = static_cast<uint32_t>(h.name.size());
    bool hit = false;
    if (h.kind == wire::HostMatch::Kind::kExact) {
      hit = iequals(h.name, h.name.ends_with('.') ? host : plain);
    } else if (h.name.empty()) {
      hit = !plain.empty();
    } else if (plain.size() > h.name.size() + 1) {
      size_t dot = plain.size() - h.name.size() - 1;
      hit = plain[dot] == '.' && iequals(plain.substr(dot + 1), h.name);
    }
    std::array<uint32_t, 2> key{h.kind == wire::HostMatch::Kind::kExact ? 2u : 1u, size};
    if (hit && (!best || key > *best)) best = key;
  }
  return best;
}

bool asks_for_path(const Match& m) {
  bool rpc = m.rpc && (!m.rpc->service.empty() || !m.rpc->method.empty());
  return rpc || (m.path && (m.path->kind != wire::PathMatch::Kind::kPrefix || !m.path->text.empty()));
}

bool takes_everything(const Match& m) { return !asks_for_path(m) && !m.method && m.headers.empty() && m.query.empty(); }

}  // namespace

RequestView::RequestView(const http::RequestHead& head, std::string_view fallback_authority)
    : authority(!head.authority.empty() ? std::string_view(head.authority) : fallback_authority),
      method(head.method),
      headers(&head.headers) {
  host = host_of(authority);
  std::string_view target = head.path;
  size_t mark = target.find('?');
  path_sent = target.substr(0, mark);
  if (mark != target.npos) query = target.substr(mark + 1);
  if (path_sent.empty()) path_sent = "/";
  path = canonical_path(path_sent, canonical_);
}

struct RouteTable::Rule {
  std::vector<Match> matches;
};
struct RouteTable::Route {
  std::vector<wire::HostMatch> hosts;
  std::vector<Rule> rules;
  Kind kind;
};

RouteTable::RouteTable() = default;
RouteTable::~RouteTable() = default;
RouteTable::RouteTable(RouteTable&&) noexcept = default;
RouteTable& RouteTable::operator=(RouteTable&&) noexcept = default;

template <class R>
Result<RouteTable> RouteTable::compile_any(const std::vector<R>& routes, Kind kind) {
  RouteTable table;
  for (const auto& in : routes) {
    Route route{in.hosts, {}, kind};
    table.by_host_ |= !in.hosts.empty();
    for (size_t i = 0; i < in.rules.size(); ++i) {
      Rule rule;
      for (const auto& m : in.rules[i].matches) {
        auto compiled = compile_match(m);
        if (!compiled) return fail(std::move(compiled).error().with(cat("route ", in.metadata.name, ", rule ", i)));
        table.by_path_ |= asks_for_path(*compiled);
        rule.matches.push_back(std::move(*compiled));
      }
      // No match at all is the prefix "/".
      if (rule.matches.empty()) {
        rule.matches.emplace_back();
        if (kind == Kind::kHttp) rule.matches[0].path = wire::PathMatch{wire::PathMatch::Kind::kPrefix, ""};
      }
      route.rules.push_back(std::move(rule));
    }
    table.routes_.push_back(std::move(route));
  }
  if (kind == Kind::kHttp && table.routes_.size() == 1 && table.routes_[0].hosts.empty() &&
      table.routes_[0].rules.size() == 1) {
    const auto& matches = table.routes_[0].rules[0].matches;
    if (matches.size() == 1 && takes_everything(matches[0]))
      table.only_ = RuleMatch{0, 0, matches[0].path ? RuleMatch::Path::kPrefix : RuleMatch::Path::kAny, 0};
  }
  return table;
}

Result<RouteTable> RouteTable::compile(const std::vector<wire::Route>& routes, Kind kind) {
  return compile_any(routes, kind);
}
Result<RouteTable> RouteTable::compile(const std::vector<wire::InboundRoute>& routes, Kind kind) {
  return compile_any(routes, kind);
}

std::optional<RuleMatch> RouteTable::match_as(const RequestView& request, std::string_view host_read,
                                              std::string_view path) const {
  std::optional<RuleMatch> best;
  std::array<uint32_t, 2> best_host{};
  Key best_key{};
  for (uint32_t i = 0; i < routes_.size(); ++i) {
    auto host = match_hosts(routes_[i].hosts, host_read);
    if (!host || (best && *host < best_host)) continue;
    for (uint32_t j = 0; j < routes_[i].rules.size(); ++j) {
      for (const Match& m : routes_[i].rules[j].matches) {
        RuleMatch how{i, j};
        auto key =
            routes_[i].kind == Kind::kHttp ? match_http(m, request, path, how) : match_rpc(m, request, path, how);
        if (!key || (best && std::tie(*host, *key) <= std::tie(best_host, best_key))) continue;
        best = how;
        best_host = *host;
        best_key = *key;
      }
    }
  }
  return best;
}

std::optional<RuleMatch> RouteTable::match(const RequestView& request) const {
  if (only_) return only_;
  auto best = match_as(request, request.host, request.path);
  if (best && best->prefix > 0) best->prefix = static_cast<uint32_t>(bytes_sent(request.path_sent, best->prefix));
  return best;
}

std::string RouteTable::other_meaning(const RequestView& request, const std::optional<RuleMatch>& match) const {
  std::string other;
  if (only_) return other;
  auto same = [&](const std::optional<RuleMatch>& m) {
    return m.has_value() == match.has_value() && (!m || (m->route == match->route && m->rule == match->rule));
  };
  if (by_host_ && request.host.find('%') != request.host.npos) {
    std::string host = decoded_host(request.host);
    if (!same(match_as(request, host, request.path))) return host;
  }
  if (!by_path_) return other;
  each_other_reading(request.path, [&](std::string_view path) {
    if (same(match_as(request, request.host, path))) return true;
    other = path;
    return false;
  });
  return other;
}

std::expected<std::optional<RuleMatch>, ProxyError> route_request(const RouteTable& table,
                                                                  const http::RequestHead& head, bool allow_ambiguous) {
  if (!allow_ambiguous && has_encoded_nul(head.path))
    return std::unexpected(ProxyError(Reason::kAmbiguousPath, "the path has %00, where some programs take it to end"));
  if (table.only()) return table.only();
  RequestView view(head);
  auto match = table.match(view);
  if (allow_ambiguous) return match;
  std::string other = table.other_meaning(view, match);
  if (other.empty()) return match;
  return std::unexpected(ProxyError(Reason::kAmbiguousPath, cat("the request could be read as one for ", quoted(other),
                                                                ", for which another rule is")));
}

std::optional<size_t> match_sni(const std::vector<wire::Route>& routes, std::string_view server_name) {
  std::optional<size_t> best;
  std::array<uint32_t, 2> best_key{};
  for (size_t i = 0; i < routes.size(); ++i) {
    auto key = match_hosts(routes[i].hosts, server_name);
    if (!key || (best && *key <= best_key)) continue;
    best = i;
    best_key = *key;
  }
  return best;
}

}  // namespace tulle::proxy
