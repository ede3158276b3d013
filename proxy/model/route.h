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
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/http/message.h"
#include "libs/wire/inbound.h"
#include "libs/wire/outbound.h"
#include "proxy/model/errors.h"

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

// What a request is matched by; views of a head that must outlive it, and of itself.
struct RequestView {
  std::string_view authority;
  std::string_view host;   // of the authority, without port; compared without case
  std::string_view path;   // canonical (canonical.h), without query; "/" if the target has none
  std::string_view query;  // without '?'
  std::string_view method;
  const http::Headers* headers = nullptr;

  // `fallback_authority` counts where the request has no authority (HTTP/1.0).
  explicit RequestView(const http::RequestHead& head, std::string_view fallback_authority = {});
  RequestView(const RequestView&) = delete;
  RequestView& operator=(const RequestView&) = delete;

  std::string_view path_sent;  // `path` as the client sent it

 private:
  std::string canonical_;
};

// The rule found. How it matched is there for filters (a prefix is replaced) and for `tulle explain`.
struct RuleMatch {
  enum class Path : uint8_t { kAny, kExact, kPrefix, kRegex, kRpc };
  uint32_t route = 0;
  uint32_t rule = 0;
  Path path = Path::kAny;
  uint32_t prefix = 0;  // kPrefix: how many bytes of the path as sent, without a trailing slash
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
  // Where another program could read the path or host so that another rule were meant: that reading. "": nowhere.
  std::string other_meaning(const RequestView& request, const std::optional<RuleMatch>& match) const;
  // Which rule takes everything, where there is only one; then match() need not be asked.
  std::optional<RuleMatch> only() const { return only_; }

 private:
  struct Rule;
  struct Host;
  struct Route;
  template <class R>
  static Result<RouteTable> compile_any(const std::vector<R>& routes, Kind kind);
  std::optional<RuleMatch> match_as(const RequestView& request, std::string_view host, std::string_view path) const;

  std::vector<Route> routes_;
  bool by_path_ = false, by_host_ = false;  // some rule is
  std::optional<RuleMatch> only_;
};

// The rule for a request, asked in the one way in which both directions ask. Nothing: no route is for it. Error: the
// request means two things (kAmbiguousPath), unless `allow_ambiguous`.
std::expected<std::optional<RuleMatch>, ProxyError> route_request(const RouteTable& table,
                                                                  const http::RequestHead& head, bool allow_ambiguous);

// The route of a TLS connection by its server name: index into `routes`, exact before the longest suffix, the first
// declared on equality. Names are compared without case.
std::optional<size_t> match_sni(const std::vector<wire::Route>& routes, std::string_view server_name);

}  // namespace tulle::proxy
