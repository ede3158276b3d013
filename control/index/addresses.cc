#include "control/index/addresses.h"

#include <limits>

#include "control/source/fields.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr uint64_t kMaxTime = std::numeric_limits<int64_t>::max() - ServiceAddresses::kKeep;
constexpr std::string_view kHeader = "tulle service addresses 1";

uint32_t size_of(const Cidr& network) { return 1u << (32 - network.prefix()); }

// The n-th usable address: the last number is 1–254.
IpAddr nth(const Cidr& network, uint32_t n) {
  uint32_t usable = size_of(network) / 256 * 254;
  n %= usable;
  return IpAddr::v4(network.ip().v4_bits() + n / 254 * 256 + 1 + n % 254);
}
uint32_t usable(const Cidr& network) { return size_of(network) / 256 * 254; }

}  // namespace

// One line per Service: "ADDRESS NAMESPACE NAME RELEASED", RELEASED 0 while it is in use; the second line is the
// cursor.
std::string ServiceAddresses::save() const {
  std::string out = cat(kHeader, "\nnext ", next_, "\n");
  for (const auto& [ref, entry] : entries_)
    append(out, entry.ip.to_string(), " ", ref.ns, " ", ref.name, " ", entry.released, "\n");
  return out;
}

Result<> ServiceAddresses::load(std::string_view text) {
  auto lines = split(text, '\n');
  auto bad = [](size_t line) { return fail(Code::kInvalid, cat("line ", line + 1, " is not one of ours")); };
  if (lines.size() < 3 || lines[0] != kHeader || !lines[1].starts_with("next ") || !lines.back().empty()) return bad(0);
  auto next = parse_number<uint32_t>(lines[1].substr(5));
  if (!next) return bad(1);
  std::map<Ref, Entry> entries;
  absl::flat_hash_map<IpAddr, Ref> by_ip;
  for (size_t i = 2; i + 1 < lines.size(); ++i) {
    auto parts = split(lines[i], ' ');
    if (parts.size() != 4 || !is_dns_label(parts[1]) || !is_dns_label(parts[2])) return bad(i);
    auto ip = IpAddr::parse(parts[0]);
    auto released = parse_number<uint64_t>(parts[3]);
    if (!ip || !released || *released > kMaxTime || !network_.contains(*ip)) return bad(i);
    Ref ref{std::string(parts[1]), std::string(parts[2])};
    if (!by_ip.emplace(*ip, ref).second) return bad(i);
    if (!entries.emplace(ref, Entry{*ip, static_cast<int64_t>(*released), false}).second) return bad(i);
  }
  entries_ = std::move(entries);
  by_ip_ = std::move(by_ip);
  next_ = *next;
  return {};
}

bool ServiceAddresses::free_for_use(IpAddr ip, int64_t now) {
  auto it = by_ip_.find(ip);
  if (it == by_ip_.end()) return true;
  Entry& entry = entries_[it->second];
  if (entry.released == 0 || now < entry.released + kKeep) return false;
  entries_.erase(it->second);
  by_ip_.erase(it);
  return true;
}

Result<IpAddr> ServiceAddresses::assign(const Ref& service, int64_t now) {
  auto it = entries_.find(service);
  if (it != entries_.end()) {
    dirty_ |= it->second.released != 0;
    it->second.released = 0;
    it->second.claimed = true;
    return it->second.ip;
  }
  for (uint32_t tries = usable(network_); tries > 0; --tries) {
    IpAddr ip = nth(network_, next_++);
    if (!free_for_use(ip, now)) continue;
    entries_[service] = Entry{ip, 0, true};
    by_ip_[ip] = service;
    dirty_ = true;
    return ip;
  }
  return fail(Code::kExhausted, cat("no address is left for services in ", network_.to_string()));
}

void ServiceAddresses::release(const Ref& service, int64_t now) {
  auto it = entries_.find(service);
  if (it == entries_.end() || it->second.released != 0) return;
  it->second.released = now > 0 ? now : 1;
  it->second.claimed = false;
  dirty_ = true;
}

void ServiceAddresses::release_unclaimed(int64_t now) {
  for (auto it = entries_.begin(); it != entries_.end();) {
    Entry& e = it->second;
    if (e.released == 0 && !e.claimed) {
      e.released = now;
      dirty_ = true;
    } else if (e.released != 0 && now >= e.released + kKeep) {
      by_ip_.erase(e.ip);
      it = entries_.erase(it);
      dirty_ = true;
      continue;
    }
    ++it;
  }
}

Result<IpAddr> PodAddresses::take_next() {
  for (uint32_t tries = usable(network_); tries > 0; --tries)
    if (IpAddr ip = nth(network_, next_++); used_.insert(ip).second) return ip;
  return fail(Code::kExhausted, cat("no address is left for pods in ", network_.to_string()));
}

bool PodAddresses::take(IpAddr ip) { return network_.contains(ip) && used_.insert(ip).second; }

}  // namespace tulle::control
