// HTTPRoute of policy.linkerd.io and of gateway.networking.k8s.io: read whole, whatever of it is acted on.
#include <algorithm>
#include <chrono>

#include "control/source/decode.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr std::string_view kPolicyGroup = "policy.linkerd.io";
constexpr std::string_view kGatewayGroup = "gateway.networking.k8s.io";

// A field value of HTTP: no control characters but tab.
bool is_field_value(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; });
}
bool is_token(std::string_view s) {
  return !s.empty() && s.size() <= 256 && std::all_of(s.begin(), s.end(), [](char c) {
    char l = lower(c);
    return (l >= 'a' && l <= 'z') || is_digit(c) ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

// Gateway API's durations: parts of number and unit h, m, s, ms, such as "1m30s"; "0s" is none.
std::optional<Duration> parse_go_duration(std::string_view text) {
  Duration total{};
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    size_t digits = 0;
    while (digits < text.size() && is_digit(text[digits])) ++digits;
    auto n = parse_number<uint32_t>(text.substr(0, digits));
    if (!n || digits > 5) return std::nullopt;
    text.remove_prefix(digits);
    auto unit = [&](std::string_view name, Duration each) {
      if (!text.starts_with(name)) return false;
      text.remove_prefix(name.size());
      total += *n * each;
      return true;
    };
    if (!(unit("ms", 1ms) || unit("h", 1h) || unit("m", 1min) || unit("s", 1s))) return std::nullopt;
  }
  return total;
}

std::optional<Duration> timeout(Fields& timeouts, std::string_view field) {
  auto text = timeouts.text(field);
  if (!text) return std::nullopt;
  auto d = parse_go_duration(*text);
  if (!d) timeouts.error(field, cat("found ", quoted(*text), "; accepted: a duration such as 500ms, 10s or 1m30s"));
  if (!d || *d == Duration::zero()) return std::nullopt;
  return d;
}

std::string core_as_empty(std::string group) { return group == "core" ? "" : group; }

ParentRef decode_parent(Fields& f, const HttpRoute& route) {
  ParentRef out;
  out.group = core_as_empty(f.text_or("group", route.group));
  out.kind = f.text_or("kind", "Gateway");
  out.ns = f.text_or("namespace", route.meta.ns);
  out.name = f.require_text("name", "the name of a Service or a Server");
  if (auto port = f.number("port", 1, 65535)) out.port = static_cast<uint16_t>(*port);
  out.section = f.text_or("sectionName", "");
  bool service = out.group.empty() && out.kind == "Service";
  bool server = out.group == kPolicyGroup && out.kind == "Server";
  if (!service && !server)
    f.report().warn(f.line(), f.path("kind"),
                    cat("a parent of kind ", quoted(out.kind), " in group ", quoted(out.group),
                        " has no effect here; acted on: Service (group core), Server (group policy.linkerd.io)"));
  return out;
}

std::vector<ValueMatch> decode_value_matches(Fields& match, std::string_view field, bool header) {
  std::vector<ValueMatch> out;
  match.each(field, 16, [&](const YamlNode& item, const std::string& at) {
    Fields f(&item, at, match.report());
    ValueMatch m;
    m.regex = f.word("type", {"Exact", "RegularExpression"}).value_or("Exact") == "RegularExpression";
    m.name = f.require_text("name", "a name");
    if (header) {
      if (f.present() && !is_token(m.name))
        f.error("name", cat("found ", quoted(m.name), "; accepted: the name of a header"));
      m.name = to_lower(m.name);
    }
    m.value = f.text_or("value", "");
    out.push_back(std::move(m));
  });
  return out;
}

RouteMatch decode_match(Fields& f) {
  RouteMatch out;
  if (const YamlNode* node = f.take("path")) {
    Fields path(node, f.path("path"), f.report());
    std::string type = path.word("type", {"Exact", "PathPrefix", "RegularExpression"}).value_or("PathPrefix");
    out.path_kind = type == "Exact"        ? PathMatchKind::kExact
                    : type == "PathPrefix" ? PathMatchKind::kPrefix
                                           : PathMatchKind::kRegex;
    out.path = path.text_or("value", "/");
    if (out.path_kind != PathMatchKind::kRegex && !out.path.starts_with('/'))
      path.error("value", cat("found ", quoted(out.path), "; accepted: a path that starts with /"));
  }
  out.headers = decode_value_matches(f, "headers", true);
  out.query = decode_value_matches(f, "queryParams", false);
  out.method = f.text_or("method", "");
  if (!out.method.empty() && !is_token(out.method))
    f.error("method", cat("found ", quoted(out.method), "; accepted: a method such as GET"));
  return out;
}

std::vector<std::pair<std::string, std::string>> decode_headers(Fields& f, std::string_view field) {
  std::vector<std::pair<std::string, std::string>> out;
  f.each(field, 16, [&](const YamlNode& item, const std::string& at) {
    Fields header(&item, at, f.report());
    std::string name = header.require_text("name", "the name of a header");
    std::string value = header.text_or("value", "");
    if (!name.empty() && !is_token(name))
      header.error("name", cat("found ", quoted(name), "; accepted: the name of a header"));
    if (!is_field_value(value))
      header.error("value", cat("found ", quoted(value), "; accepted: text without control characters"));
    out.emplace_back(to_lower(name), value);
  });
  return out;
}

HeaderModifier decode_header_modifier(const YamlNode* node, const std::string& path, bool response, Report& report) {
  Fields f(node, path, report);
  HeaderModifier out;
  out.response = response;
  out.add = decode_headers(f, "add");
  out.set = decode_headers(f, "set");
  for (std::string& name : f.texts("remove", 16)) {
    if (!is_token(name)) f.error("remove", cat("found ", quoted(name), "; accepted: names of headers"));
    out.remove.push_back(to_lower(name));
  }
  return out;
}

Redirect decode_redirect(const YamlNode* node, const std::string& path, Report& report) {
  Fields f(node, path, report);
  Redirect out;
  out.scheme = f.word("scheme", {"http", "https"}).value_or("");
  out.host = f.text_or("hostname", "");
  if (auto port = f.number("port", 1, 65535)) out.port = static_cast<uint16_t>(*port);
  if (auto status = f.number("statusCode", 300, 399)) out.status = static_cast<uint16_t>(*status);
  if (const YamlNode* p = f.take("path")) {
    Fields modifier(p, f.path("path"), report);
    std::string type = modifier.word("type", {"ReplaceFullPath", "ReplacePrefixMatch"}).value_or("");
    auto full = modifier.text("replaceFullPath");
    auto prefix = modifier.text("replacePrefixMatch");
    if (type == "ReplaceFullPath") out.full_path = full.value_or("/");
    else if (type == "ReplacePrefixMatch") out.path_prefix = prefix.value_or("/");
    else if (!report.failed()) modifier.error("type", "missing; accepted: ReplaceFullPath, ReplacePrefixMatch");
    for (const auto& value : {out.full_path, out.path_prefix})
      if (value && !value->starts_with('/'))
        modifier.error("type", cat("found ", quoted(*value), "; accepted: a path that starts with /"));
  }
  return out;
}

std::vector<RouteFilter> decode_filters(Fields& owner) {
  std::vector<RouteFilter> out;
  owner.each("filters", 16, [&](const YamlNode& item, const std::string& at) {
    Report& report = owner.report();
    Fields f(&item, at, report);
    std::string type = f.word("type", {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect",
                                       "RequestMirror", "URLRewrite", "ExtensionRef"})
                           .value_or("");
    auto body = [&](std::string_view field) { return f.require(field, cat("a map, as type ", type, " says")); };
    if (type == "RequestHeaderModifier") {
      out.push_back(
          decode_header_modifier(body("requestHeaderModifier"), f.path("requestHeaderModifier"), false, report));
    } else if (type == "ResponseHeaderModifier") {
      out.push_back(
          decode_header_modifier(body("responseHeaderModifier"), f.path("responseHeaderModifier"), true, report));
    } else if (type == "RequestRedirect") {
      out.push_back(decode_redirect(body("requestRedirect"), f.path("requestRedirect"), report));
    } else if (!type.empty()) {
      f.ignore({"requestMirror", "urlRewrite", "extensionRef"});
      report.warn(f.line(), f.path("type"),
                  cat(type, " is not supported: requests that it would apply to are answered 500"));
      out.push_back(UnsupportedFilter{type});
    } else if (!report.failed()) {
      f.error("type", "missing; accepted: RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect");
    }
  });
  return out;
}

BackendRef decode_backend(Fields& f, const HttpRoute& route) {
  BackendRef out;
  out.group = core_as_empty(f.text_or("group", ""));
  out.kind = f.text_or("kind", "Service");
  out.ns = f.text_or("namespace", route.meta.ns);
  out.name = f.require_text("name", "the name of a Service");
  if (auto port = f.number("port", 1, 65535)) out.port = static_cast<uint16_t>(*port);
  out.weight = f.number("weight", 0, 1'000'000).value_or(1);
  out.filters = decode_filters(f);
  if (!out.group.empty() || out.kind != "Service")
    f.report().warn(f.line(), f.path("kind"),
                    cat("a backend of kind ", quoted(out.kind), " is answered 500; acted on: Service"));
  else if (!out.port && !f.report().failed()) f.error("port", "missing; accepted: a port of the Service");
  return out;
}

RouteRule decode_rule(Fields& f, const HttpRoute& route) {
  RouteRule out;
  f.each("matches", 64, [&](const YamlNode& item, const std::string& at) {
    Fields match(&item, at, f.report());
    out.matches.push_back(decode_match(match));
  });
  out.filters = decode_filters(f);
  out.has_backends = f.take("backendRefs") != nullptr;
  f.each("backendRefs", 16, [&](const YamlNode& item, const std::string& at) {
    Fields backend(&item, at, f.report());
    out.backends.push_back(decode_backend(backend, route));
  });
  Fields timeouts(f.take("timeouts"), f.path("timeouts"), f.report());
  out.request_timeout = timeout(timeouts, "request");
  out.backend_timeout = timeout(timeouts, "backendRequest");
  if (out.request_timeout && out.backend_timeout && *out.backend_timeout > *out.request_timeout)
    timeouts.error("backendRequest", "longer than request");
  if (route.group == kGatewayGroup) f.not_acted_on({"retry", "sessionPersistence"});
  f.ignore({"name"});
  return out;
}

void decode_hostnames(Fields& spec, HttpRoute& out) {
  out.hostnames = spec.texts("hostnames", 16);
  for (std::string& host : out.hostnames) {
    std::string_view name = host;
    if (name.starts_with("*.")) name.remove_prefix(2);
    if (!is_dns_subdomain(name))
      spec.error("hostnames",
                 cat("found ", quoted(host), "; accepted: DNS names in lower case, the first label may be *"));
  }
}

}  // namespace

HttpRoute decode_http_route(Fields& document, std::string_view group) {
  HttpRoute out;
  out.group = group;
  out.meta = decode_metadata(document, true);
  Report& report = document.report();
  Fields spec(document.require("spec", "a map with parentRefs and rules"), "spec", report);
  document.ignore({"status"});
  if (!spec.present()) return out;
  spec.each("parentRefs", 32, [&](const YamlNode& item, const std::string& at) {
    Fields f(&item, at, report);
    out.parents.push_back(decode_parent(f, out));
  });
  decode_hostnames(spec, out);
  if (!spec.take("rules")) out.rules.push_back({});
  spec.each("rules", 16, [&](const YamlNode& item, const std::string& at) {
    Fields f(&item, at, report);
    out.rules.push_back(decode_rule(f, out));
  });
  return out;
}

}  // namespace tulle::control
