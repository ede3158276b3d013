#include "libs/tls/identity.h"

#include "libs/base/strings.h"

namespace tulle::tls {
namespace {

constexpr std::string_view kSpiffe = "spiffe://";
constexpr std::string_view kMarker = "serviceaccount.identity";
constexpr size_t kMaxDns = 253, kMaxLabel = 63, kMaxUri = 2048, kMaxDomain = 255;

bool is_alnum(char c) { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z'); }
bool label_char(char c) { return is_alnum(c) || c == '-' || c == '_'; }
bool domain_char(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '_'; }
bool segment_char(char c) { return is_alnum(c) || c == '.' || c == '-' || c == '_'; }

// Empty: fine.
std::string_view label_fault(std::string_view label) {
  if (label.empty()) return "an empty label";
  if (label.size() > kMaxLabel) return "a label of more than 63 bytes";
  if (label.front() == '-' || label.back() == '-') return "a label that begins or ends with '-'";
  for (char c : label)
    if (!label_char(c)) return "a character other than letters, digits, '-' and '_'";
  return {};
}

// A name whose last label is a number could be taken for an IPv4 address (WHATWG URL, "ends in a number").
bool is_number(std::string_view label) {
  for (char c : label)
    if (!is_digit(c)) return false;
  return true;
}

std::string_view dns_fault(std::string_view name) {
  if (name.empty()) return "it is empty";
  if (name.size() > kMaxDns) return "more than 253 bytes";
  std::string_view last;
  for (std::string_view rest = name;;) {
    size_t dot = rest.find('.');
    last = rest.substr(0, dot);
    if (auto fault = label_fault(last); !fault.empty()) return fault;
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  return is_number(last) ? "its last label is a number" : std::string_view();
}

std::string_view uri_fault(std::string_view uri) {
  if (!uri.starts_with(kSpiffe)) return "it does not begin with spiffe://";
  if (uri.size() > kMaxUri) return "more than 2048 bytes";
  std::string_view rest = uri.substr(kSpiffe.size());
  size_t slash = rest.find('/');
  std::string_view domain = rest.substr(0, slash);
  if (domain.empty()) return "no trust domain";
  if (domain.size() > kMaxDomain) return "a trust domain of more than 255 bytes";
  for (char c : domain)
    if (!domain_char(c)) return "a character in the trust domain other than a-z, 0-9, '.', '-' and '_'";
  if (slash == std::string_view::npos) return "no path";
  for (;;) {
    rest.remove_prefix(slash + 1);
    slash = rest.find('/');
    std::string_view segment = rest.substr(0, slash);
    if (segment.empty()) return "an empty path segment";
    if (segment == "." || segment == "..") return "a path segment \".\" or \"..\"";
    for (char c : segment)
      if (!segment_char(c)) return "a character in the path other than letters, digits, '.', '-' and '_'";
    if (slash == std::string_view::npos) return {};
  }
}

Result<> check_label(std::string_view what, std::string_view label) {
  if (auto fault = label_fault(label); !fault.empty())
    return fail(Code::kInvalid, cat("identity: the ", what, " ", quoted(label), " has ", fault));
  return {};
}

}  // namespace

Result<Identity> Identity::parse(std::string_view text) {
  return text.starts_with(kSpiffe) ? parse_uri(text) : parse_dns(text);
}

Result<Identity> Identity::parse_dns(std::string_view text) {
  if (auto fault = dns_fault(text); !fault.empty())
    return fail(Code::kInvalid, cat("identity ", quoted(text), " is not a DNS name: ", fault));
  return Identity(Kind::kDns, to_lower(text));
}

Result<Identity> Identity::parse_uri(std::string_view text) {
  if (auto fault = uri_fault(text); !fault.empty())
    return fail(Code::kInvalid, cat("identity ", quoted(text), " is not a SPIFFE URI: ", fault));
  return Identity(Kind::kUri, std::string(text));
}

bool Identity::has_suffix(std::string_view suffix) const {
  if (suffix.empty()) return true;
  if (!is_dns() || name_.size() <= suffix.size()) return false;
  size_t at = name_.size() - suffix.size();
  return name_[at - 1] == '.' && iequals(std::string_view(name_).substr(at), suffix);
}

Result<Identity> dns_identity(const Workload& w) {
  TULLE_TRY_VOID(check_label("service account", w.service_account));
  TULLE_TRY_VOID(check_label("namespace", w.ns));
  TULLE_TRY_VOID(check_label("control-plane namespace", w.control_ns));
  return Identity::parse_dns(cat(w.service_account, ".", w.ns, ".", kMarker, ".", w.control_ns, ".", w.trust_domain));
}

Result<Identity> spiffe_identity(const Workload& w) {
  TULLE_TRY_VOID(check_label("service account", w.service_account));
  TULLE_TRY_VOID(check_label("namespace", w.ns));
  return Identity::parse_uri(cat(kSpiffe, to_lower(w.trust_domain), "/ns/", w.ns, "/sa/", w.service_account));
}

std::optional<Workload> workload_of(const Identity& identity) {
  Workload w;
  std::string_view rest = identity.name();
  // Takes what stands before the next separator.
  auto take = [&rest](char separator) {
    size_t at = rest.find(separator);
    std::string_view part = rest.substr(0, at);
    rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
    return std::string(part);
  };
  if (identity.is_dns()) {
    w.service_account = take('.');
    w.ns = take('.');
    if (!rest.starts_with(kMarker) || rest.size() <= kMarker.size() || rest[kMarker.size()] != '.') return std::nullopt;
    rest.remove_prefix(kMarker.size() + 1);
    w.control_ns = take('.');
    w.trust_domain = rest;
    if (w.trust_domain.empty()) return std::nullopt;
  } else {
    rest.remove_prefix(kSpiffe.size());
    w.trust_domain = take('/');
    if (take('/') != "ns") return std::nullopt;
    w.ns = take('/');
    if (take('/') != "sa") return std::nullopt;
    w.service_account = take('/');
    if (!rest.empty() || w.ns.empty() || w.service_account.empty()) return std::nullopt;
  }
  return w;
}

}  // namespace tulle::tls
