// Private to proxy/config: reading variables by grammar, collecting what is wrong.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/strings.h"
#include "proxy/config/config.h"

namespace tulle::proxy {

// A grammar: gives the value, or nothing when the text is not of it. The view holds during the call.
template <class T>
using Grammar = std::optional<T> (*)(std::string_view);

std::optional<Duration> grammar_duration(std::string_view s);
std::optional<bool> grammar_bool(std::string_view s);
std::optional<SocketAddr> grammar_socket_addr(std::string_view s);
std::optional<PortSet> grammar_ports(std::string_view s);
std::optional<std::vector<HeaderLimit>> grammar_header_limits(std::string_view s);
std::optional<std::vector<std::string>> grammar_suffixes(std::string_view s);
std::optional<std::vector<Cidr>> grammar_networks(std::string_view s);
std::optional<std::vector<IpAddr>> grammar_ips(std::string_view s);
std::optional<std::vector<PodPort>> grammar_pod_ports(std::string_view s);
std::optional<double> grammar_float(std::string_view s);  // finite
std::optional<tls::Identity> grammar_dns_identity(std::string_view s);
std::optional<tls::Identity> grammar_identity(std::string_view s);
template <class N, N kMin, N kMax>
std::optional<N> grammar_number(std::string_view s) {
  auto n = parse_number<N>(trim(s));
  return n && *n >= kMin && *n <= kMax ? n : std::nullopt;
}

// What a grammar accepts, for messages.
inline constexpr std::string_view kWantDuration = "a whole number and a unit of ms, s, m, h or d, such as 10s";
inline constexpr std::string_view kWantBool = "true or false";
inline constexpr std::string_view kWantSocketAddr = "IP:PORT";
inline constexpr std::string_view kWantPorts = "ports and ranges, such as 80,8000-8099";
inline constexpr std::string_view kWantSuffixes = "DNS names with commas between, or . for all names";
inline constexpr std::string_view kWantNetworks = "networks with commas between, such as 10.0.0.0/8,fd00::/8";
inline constexpr std::string_view kWantIps = "IP addresses with commas between";
inline constexpr std::string_view kWantName =
    "a DNS name such as web.default.serviceaccount.identity.linkerd.cluster.local";

class Env {
 public:
  using Source = std::function<std::optional<std::string>(std::string_view)>;
  explicit Env(const Source& source) : source_(source) {}

  // The variable that a short name means: LINKERD2_PROXY_NAME, but for TULLE_PROXY_… and the two that have no prefix.
  static std::string full_name(std::string_view name);
  // The value when set, checked to be UTF-8 without NUL.
  std::optional<std::string> text(std::string_view name);

  // Reads into `out`, which keeps its default when the variable is unset; false when that or wrong.
  template <class T, class U>
  bool read(std::string_view name, U& out, Grammar<T> grammar, std::string_view wanted) {
    auto s = text(name);
    if (!s) return false;
    auto v = grammar(*s);
    if (v) out = std::move(*v);
    else wrong(name, *s, wanted);
    return v.has_value();
  }
  void duration(std::string_view name, Duration& out) { read(name, out, &grammar_duration, kWantDuration); }
  // Unset or empty: none.
  void duration(std::string_view name, std::optional<Duration>& out);
  void boolean(std::string_view name, bool& out) { read(name, out, &grammar_bool, kWantBool); }
  void count(std::string_view name, size_t& out);  // ≥ 1
  template <class U>
  void size(std::string_view name, U& out) {  // ≥ 1, fits 31 bits
    read(name, out, &grammar_number<uint32_t, 1, 0x7fffffff>, "a whole number from 1 to 2147483647");
  }
  void backoff(std::string_view base, BackoffConfig& out);

  void wrong(std::string_view name, std::string_view value, std::string_view wanted) {
    add(cat(full_name(name), "=", quoted(value), ": expected ", wanted));
  }
  void error(std::string_view name, std::string_view what) { add(cat(full_name(name), ": ", what)); }
  void warn(std::string_view name, std::string_view what) { warnings_.push_back(cat(full_name(name), ": ", what)); }
  void warn(std::string text) { warnings_.push_back(std::move(text)); }
  const std::vector<std::string>& errors() const { return errors_; }
  std::vector<std::string> take_warnings() { return std::move(warnings_); }

 private:
  void add(std::string e) {  // once
    if (std::ranges::find(errors_, e) == errors_.end()) errors_.push_back(std::move(e));
  }
  const Source& source_;
  std::vector<std::string> errors_, warnings_;
};

}  // namespace tulle::proxy
