// Which rule of which route a request belongs to, by the matches of Gateway API. Compiled once when a policy arrives,
// immutable, shared by all requests; match() allocates nothing but for query parameters that are matched by a regular
// expression and arrive percent-encoded.
//
// Precedence is Gateway API's, for that is what the routes are written in (Linkerd compares path lengths only, so that
// an exact path and a prefix or expression of the same length tie, and looks at the method last):
//   1 host: exact, then the longest suffix, then routes without hosts
//   2 path: exact, then the longest (a prefix without its trailing slash; an expression counts as all of the path)
//   3 method   4 number of header matches   5 number of query matches   6 the first declared
// gRPC: host, then the longest service, the longest method, the number of header matches, the first declared.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/http/message.h"
#include "libs/wire/inbound.h"
#include "libs/wire/outbound.h"

namespace tulle::proxy {

// A regular expression that must cover the whole text. Linear time; linear, bounded memory.
class Pattern {
 public:
  // Error: what is wrong with it.
  static Result<Pattern> compile(std::string_view regex);
  bool matches(std::string_view text) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

// What a request is matched by; views of a head that must outlive it.
struct RequestView {
  std::string_view authority;
  std::string_view host;   // of the authority, without port; compared without case
  std::string_view path;   // without query; "/" if the target has none
  std::string_view query;  // without '?'
  std::string_view method;
  const http::Headers* headers = nullptr;

  // `fallback_authority` counts where the request has no authority (HTTP/1.0).
  explicit RequestView(const http::RequestHead& head, std::string_view fallback_authority = {});
};

// The rule found. How it matched is there for filters (a prefix is replaced) and for `tulle explain`.
struct RuleMatch {
  enum class Path : uint8_t { kAny, kExact, kPrefix, kRegex, kRpc };
  uint32_t route = 0;
  uint32_t rule = 0;
  Path path = Path::kAny;
  uint32_t prefix = 0;  // kPrefix: how many bytes of the path, without a trailing slash
};

class RouteTable {
 public:
  enum class Kind : uint8_t { kHttp, kGrpc };

  RouteTable();
  ~RouteTable();
  RouteTable(RouteTable&&) noexcept;
  RouteTable& operator=(RouteTable&&) noexcept;

  // Error: names the route, the rule and the pattern that does not compile.
  static Result<RouteTable> compile(const std::vector<wire::Route>& routes, Kind kind);
  static Result<RouteTable> compile(const std::vector<wire::InboundRoute>& routes, Kind kind);

  // Nothing: no route is for this request.
  std::optional<RuleMatch> match(const RequestView& request) const;
  // Which rule takes everything, where there is only one; then match() need not be asked.
  std::optional<RuleMatch> only() const { return only_; }

 private:
  struct Rule;
  struct Host;
  struct Route;
  template <class R>
  static Result<RouteTable> compile_any(const std::vector<R>& routes, Kind kind);

  std::vector<Route> routes_;
  std::optional<RuleMatch> only_;
};

// The route of a TLS connection by its server name: index into `routes`, exact before the longest suffix, the first
// declared on equality. Names are compared without case.
std::optional<size_t> match_sni(const std::vector<wire::Route>& routes, std::string_view server_name);

}  // namespace tulle::proxy
