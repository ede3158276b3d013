// Identity names: who a workload is, as its certificate says it. Values; pure functions.
//
// Two forms (reference: Linkerd's proxy, mTLS): a DNS-like name, `SA.NS.serviceaccount.identity.CONTROL-NS.DOMAIN`, and
// a SPIFFE URI, `spiffe://DOMAIN/ns/NS/sa/SA`. They are different identities even where they name the same workload.
#pragma once

#include <compare>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace tulle::tls {

class Identity {
 public:
  enum class Kind : uint8_t { kDns, kUri };

  // "spiffe://…" is a URI, anything else a DNS name. Error: kInvalid, naming what is wrong.
  static Result<Identity> parse(std::string_view text);
  // Labels of 1–63 letters, digits, '-' and '_' ('-' not at an end), at most 253 bytes together; kept in lower case.
  // No wildcard, no trailing dot (RFC 5280 §4.2.1.6), not an IP address.
  static Result<Identity> parse_dns(std::string_view text);
  // spiffe://DOMAIN/SEGMENT… (SPIFFE-ID §2): domain of a–z 0–9 . - _, at most 255 bytes; at least one segment of
  // A–Z a–z 0–9 . - _, none empty, "." or ".."; at most 2048 bytes together. Kept as it is.
  static Result<Identity> parse_uri(std::string_view text);

  Kind kind() const { return kind_; }
  bool is_dns() const { return kind_ == Kind::kDns; }
  const std::string& name() const { return name_; }

  // Linkerd's suffix rule (proxy.md §4.3): a DNS identity that ends with ".SUFFIX"; an empty suffix fits any identity.
  bool has_suffix(std::string_view suffix) const;

  friend bool operator==(const Identity&, const Identity&) = default;
  friend auto operator<=>(const Identity&, const Identity&) = default;
  template <class H>
  friend H AbslHashValue(H h, const Identity& i) {
    return H::combine(std::move(h), i.name_);
  }

 private:
  Identity(Kind kind, std::string name) : kind_(kind), name_(std::move(name)) {}
  Kind kind_;
  std::string name_;
};

// What a workload's names are made of.
struct Workload {
  std::string service_account;
  std::string ns;
  std::string control_ns;    // not part of the SPIFFE form: empty when read from one
  std::string trust_domain;  // "cluster.local"
  bool operator==(const Workload&) const = default;
};
// Each of service_account, ns and control_ns must be one DNS label, the domain a DNS name.
// Error: kInvalid, naming the part.
Result<Identity> dns_identity(const Workload& w);
Result<Identity> spiffe_identity(const Workload& w);
// The reverse of both; nothing when the identity does not have that form.
std::optional<Workload> workload_of(const Identity& identity);

}  // namespace tulle::tls

template <>
struct std::hash<tulle::tls::Identity> {
  size_t operator()(const tulle::tls::Identity& i) const noexcept { return std::hash<std::string>{}(i.name()); }
};
