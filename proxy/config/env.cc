#include "proxy/config/env.h"

#include <algorithm>
#include <cmath>

#include "libs/base/strings.h"
#include "libs/base/utf8.h"

namespace tulle::proxy {
namespace {

bool is_text(std::string_view s) {
  while (!s.empty()) {
    size_t n = utf8_size(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

// Calls f(item) for each item of a comma list, blanks and empty items left out; false as soon as f gives false.
template <class F>
bool each_item(std::string_view s, F f) {
  for (std::string_view item : split(s, ',')) {
    item = trim(item);
    if (!item.empty() && !f(item)) return false;
  }
  return true;
}

// A name as suffix lists have it, without the dot at its end.
std::optional<std::string> suffix(std::string_view s) {
  if (s == ".") return "";
  if (s.ends_with('.')) s.remove_suffix(1);
  auto name = tls::Identity::parse_dns(s);
  if (!name) return std::nullopt;
  return name->name();
}

}  // namespace

std::optional<Duration> grammar_duration(std::string_view s) {
  auto d = parse_duration(s);
  return d ? std::optional(*d) : std::nullopt;
}

std::optional<bool> grammar_bool(std::string_view s) {
  if (s == "true") return true;
  if (s == "false") return false;
  return std::nullopt;
}

std::optional<SocketAddr> grammar_socket_addr(std::string_view s) {
  auto a = SocketAddr::parse(s);
  return a ? std::optional(*a) : std::nullopt;
}

std::optional<PortSet> grammar_ports(std::string_view s) {
  PortSet out;
  bool ok = each_item(s, [&](std::string_view item) {
    size_t dash = item.find('-');
    auto first = parse_number<uint16_t>(trim(item.substr(0, dash)));
    auto last = dash == item.npos ? first : parse_number<uint16_t>(trim(item.substr(dash + 1)));
    if (!first || !last || *first == 0 || *first > *last) return false;
    out.add(*first, *last);
    return true;
  });
  return ok ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::vector<HeaderLimit>> grammar_header_limits(std::string_view s) {
  std::vector<HeaderLimit> out;
  bool ok = each_item(s, [&](std::string_view item) {
    size_t eq = item.find('=');
    if (eq == item.npos) return false;
    auto ports = grammar_ports(item.substr(0, eq));
    auto bytes = grammar_number<uint32_t, 1024, 1024 * 1024>(item.substr(eq + 1));
    if (!ports || ports->empty() || !bytes) return false;
    out.push_back({std::move(*ports), *bytes});
    return true;
  });
  return ok ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::vector<std::string>> grammar_suffixes(std::string_view s) {
  std::vector<std::string> out;
  bool ok = each_item(s, [&](std::string_view item) {
    auto name = suffix(item);
    if (name) out.push_back(std::move(*name));
    return name.has_value();
  });
  return ok ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::vector<Cidr>> grammar_networks(std::string_view s) {
  std::vector<Cidr> out;
  bool ok = each_item(s, [&](std::string_view item) {
    auto net = Cidr::parse(item);
    if (net) out.push_back(*net);
    return net.has_value();
  });
  return ok ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::vector<IpAddr>> grammar_ips(std::string_view s) {
  std::vector<IpAddr> out;
  bool ok = each_item(s, [&](std::string_view item) {
    auto ip = IpAddr::parse(item);
    if (ip) out.push_back(*ip);
    return ip.has_value();
  });
  return ok ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::vector<PodPort>> grammar_pod_ports(std::string_view s) {
  std::vector<PodPort> out;
  bool ok = each_item(s, [&](std::string_view item) {
    size_t colon = item.find(':');
    auto served = parse_number<uint16_t>(item.substr(0, colon));
    auto app = colon == item.npos ? served : parse_number<uint16_t>(item.substr(colon + 1));
    if (!served || !app || *served == 0 || *app == 0) return false;
    if (std::ranges::any_of(out, [&](const PodPort& p) { return p.served == *served; })) return false;
    out.push_back(PodPort{*served, *app});
    return true;
  });
  return ok ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<double> grammar_float(std::string_view s) {
  s = trim(s);
  double d = 0;
  auto [end, err] = std::from_chars(s.data(), s.data() + s.size(), d);
  if (s.empty() || err != std::errc{} || end != s.data() + s.size() || !std::isfinite(d)) return std::nullopt;
  return d;
}

std::optional<tls::Identity> grammar_dns_identity(std::string_view s) {
  auto i = tls::Identity::parse_dns(s);
  return i ? std::optional(std::move(*i)) : std::nullopt;
}

std::optional<tls::Identity> grammar_identity(std::string_view s) {
  auto i = tls::Identity::parse(s);
  return i ? std::optional(std::move(*i)) : std::nullopt;
}

std::string Env::full_name(std::string_view name) {
  if (name.starts_with("TULLE_PROXY_") || name == "HOSTNAME" || name == "OTEL_RESOURCE_ATTRIBUTES")
    return std::string(name);
  return cat("LINKERD2_PROXY_", name);
}

std::optional<std::string> Env::text(std::string_view name) {
  auto s = source_(full_name(name));
  if (s && !is_text(*s)) {
    error(name, "the value is not UTF-8 text");
    return std::nullopt;
  }
  return s;
}

void Env::duration(std::string_view name, std::optional<Duration>& out) {
  auto s = text(name);
  if (!s || trim(*s).empty()) return;
  if (auto d = grammar_duration(*s)) out = *d;
  else wrong(name, *s, kWantDuration);
}

void Env::count(std::string_view name, size_t& out) {
  read(name, out, &grammar_number<size_t, 1, 1'000'000'000>, "a whole number from 1 to 1000000000");
}

void Env::backoff(std::string_view base, BackoffConfig& out) {
  std::string min_name = cat(base, "_EXP_BACKOFF_MIN"), max_name = cat(base, "_EXP_BACKOFF_MAX"),
              jitter_name = cat(base, "_EXP_BACKOFF_JITTER");
  BackoffConfig given;
  bool has_min = text(min_name).has_value(), has_max = text(max_name).has_value();
  bool min_ok = read(min_name, given.min, &grammar_duration, kWantDuration);
  bool max_ok = read(max_name, given.max, &grammar_duration, kWantDuration);
  read(jitter_name, given.jitter, &grammar_float, "a number such as 0.1");
  if (given.jitter < 0) error(jitter_name, "must not be negative");
  if (has_min != has_max) {
    error(has_min ? max_name : min_name, cat("must be set, as ", full_name(has_min ? min_name : max_name), " is"));
  } else if (min_ok && max_ok) {
    if (given.min <= Duration::zero()) error(min_name, "must be more than 0");
    else if (given.min > given.max) error(min_name, cat("must not be more than ", full_name(max_name)));
    else out = given;
  } else if (!has_min && text(jitter_name)) {
    warn(jitter_name, cat("is ignored without ", full_name(min_name)));
  }
}

}  // namespace tulle::proxy
