#include "libs/wire/tulle.h"

#include <algorithm>

#include "libs/wire/convert.h"
#include "tulle.pb.h"

namespace tulle::wire {
namespace {

namespace pd = ::tulle::dev;

constexpr int kMaxNames = 100'000;
constexpr int kMaxAddresses = 1'000;
constexpr int kMaxSearch = 32;

// A lower-case name without the dot at the end. Underscores are allowed (SRV-like names).
std::string read_name(const std::string& s, const At& at) {
  bool good = !s.empty() && s.size() <= 253 && s.front() != '.' && s.back() != '.' && s.find("..") == s.npos &&
              std::all_of(s.begin(), s.end(), [](char c) {
                return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_';
              });
  if (!good) at.bad(cat(quoted(s), " is not a lower-case name"));
  return s;
}

std::string read_workload(const std::string& s, const At& up) {
  if (s.size() > 64 * 1024) At(up, "workload").bad("longer than 64 kB");
  return s;
}

NameTable read_table(const pd::NameTable& m, const At& at) {
  NameTable out;
  out.version = m.version();
  if (m.names_size() > kMaxNames) {
    At(at, "names").bad(cat("more than ", kMaxNames));
    return out;
  }
  out.names = read_list(m.names(), at, "names", [](const auto& n, const At& a) {
    Name name;
    name.name = read_name(n.name(), At(a, "name"));
    if (n.addresses_size() > kMaxAddresses) At(a, "addresses").bad(cat("more than ", kMaxAddresses));
    else
      name.addresses =
          read_list(n.addresses(), a, "addresses", [](const auto& ip, const At& b) { return read_ip(ip, b); });
    return name;
  });
  if (m.search_size() > kMaxSearch || m.zones_size() > kMaxSearch) At(at, "search").bad("more than 32");
  out.search = read_list(m.search(), at, "search", read_name);
  out.zones = read_list(m.zones(), at, "zones", read_name);
  out.ttl = std::chrono::seconds(std::min<uint32_t>(m.ttl_seconds(), 86'400));
  return out;
}

// FNV-1a with a final mix: both ends are ours, and a digest is only ever compared for equality.
class Hash {
 public:
  void add(std::string_view s) {
    for (char c : s) step(static_cast<uint8_t>(c));
    add(s.size());
  }
  void add(uint64_t n) {
    for (int i = 0; i < 8; ++i, n >>= 8) step(static_cast<uint8_t>(n));
  }
  uint64_t value() const {
    uint64_t x = h_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

 private:
  void step(uint8_t byte) { h_ = (h_ ^ byte) * 0x100000001b3; }
  uint64_t h_ = 0xcbf29ce484222325;
};

}  // namespace

uint64_t endpoint_digest(const Endpoint& e) {
  Hash h;
  h.add(e.addr.ip.high());
  h.add(e.addr.ip.low());
  h.add(e.addr.port);
  h.add(e.weight);
  h.add(e.tls ? 1 + static_cast<uint64_t>(e.tls->kind) : 0);
  if (e.tls) {
    h.add(e.tls->id);
    h.add(e.tls->server_name);
  }
  h.add(static_cast<uint64_t>(e.hint));
  h.add(e.opaque_transport_port);
  h.add(e.authority_override);
  return h.value();
}

uint64_t message_digest(Bytes bytes) {
  Hash h;
  h.add(bytes);
  return h.value();
}

std::string encode(const WatchNamesRequest& v) {
  pd::WatchNamesRequest m;
  m.set_workload(v.workload);
  return serialize(m);
}
std::string encode(const NameTable& v) {
  pd::NameTable m;
  m.set_version(v.version);
  for (const auto& n : v.names) {
    auto& out = *m.add_names();
    out.set_name(n.name);
    for (const auto& ip : n.addresses) write(ip, *out.add_addresses());
  }
  write_strings(v.search, m.mutable_search());
  write_strings(v.zones, m.mutable_zones());
  m.set_ttl_seconds(static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(v.ttl).count()));
  return serialize(m);
}
std::string encode(const WatchTrustBundleRequest& v) {
  pd::WatchTrustBundleRequest m;
  m.set_workload(v.workload);
  return serialize(m);
}
std::string encode(const TrustBundle& v) {
  pd::TrustBundle m;
  m.set_anchors_pem(v.anchors_pem);
  write_strings(v.revoked, m.mutable_revoked());
  return serialize(m);
}
std::string encode(const CheckDigestsRequest& v) {
  pd::CheckDigestsRequest m;
  m.set_workload(v.workload);
  m.set_context_token(v.context_token);
  for (const auto& d : v.held) {
    auto& out = *m.add_held();
    out.set_kind(static_cast<pd::SetDigest::Kind>(d.kind));
    out.set_key(d.key);
    out.set_digest(d.digest);
  }
  return serialize(m);
}
std::string encode(const CheckDigestsResponse& v) {
  pd::CheckDigestsResponse m;
  for (uint32_t i : v.differ) m.add_differ(i);
  return serialize(m);
}

Result<WatchNamesRequest> decode_watch_names_request(Bytes bytes) {
  return decode_message<pd::WatchNamesRequest>(bytes, "WatchNamesRequest", [](const auto& m, const At& at) {
    return WatchNamesRequest{read_workload(m.workload(), at)};
  });
}
Result<NameTable> decode_name_table(Bytes bytes) {
  return decode_message<pd::NameTable>(bytes, "NameTable", read_table);
}
Result<WatchTrustBundleRequest> decode_watch_trust_bundle_request(Bytes bytes) {
  return decode_message<pd::WatchTrustBundleRequest>(bytes, "WatchTrustBundleRequest", [](const auto& m, const At& at) {
    return WatchTrustBundleRequest{read_workload(m.workload(), at)};
  });
}
Result<TrustBundle> decode_trust_bundle(Bytes bytes) {
  return decode_message<pd::TrustBundle>(bytes, "TrustBundle", [](const auto& m, const At& at) {
    if (m.anchors_pem().empty() || m.anchors_pem().size() > (1u << 20))
      At(at, "anchors_pem").bad("empty or longer than 1 MB");
    return TrustBundle{m.anchors_pem(), read_list(m.revoked(), at, "revoked", [](const std::string& s, const At& a) {
                         if (s.size() != 32) a.bad("not a SHA-256 fingerprint of 32 bytes");
                         return s;
                       })};
  });
}
Result<CheckDigestsRequest> decode_check_digests_request(Bytes bytes) {
  return decode_message<pd::CheckDigestsRequest>(bytes, "CheckDigestsRequest", [](const auto& m, const At& at) {
    CheckDigestsRequest out;
    out.workload = read_workload(m.workload(), at);
    out.context_token = read_workload(m.context_token(), at);
    out.held = read_list(m.held(), at, "held", [](const auto& d, const At& a) {
      if (d.kind() < 0 || d.kind() > 4) At(a, "kind").bad("not a kind that is known");
      if (d.key().size() > 512) At(a, "key").bad("longer than 512 bytes");
      return SetDigest{static_cast<SetDigest::Kind>(d.kind()), d.key(), d.digest()};
    });
    return out;
  });
}
Result<CheckDigestsResponse> decode_check_digests_response(Bytes bytes) {
  return decode_message<pd::CheckDigestsResponse>(bytes, "CheckDigestsResponse", [](const auto& m, const At& at) {
    CheckDigestsResponse out;
    if (at.take(static_cast<size_t>(m.differ_size()), sizeof(uint32_t)))
      out.differ.assign(m.differ().begin(), m.differ().end());
    return out;
  });
}

}  // namespace tulle::wire
