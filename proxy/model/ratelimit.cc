#include "proxy/model/ratelimit.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::proxy {
namespace {
constexpr size_t kMaxClients = 10'000;
}

Gcra::Gcra(uint32_t rps) : interval_(1'000'000'000 / std::max(rps, 1u)), burst_(interval_ * (std::max(rps, 1u) - 1)) {}

bool Gcra::take(TimePoint now) {
  TimePoint from = std::max(next_, now);
  if (from - now > burst_) return false;
  next_ = from + interval_;
  return true;
}

RateLimiter::RateLimiter(const wire::RateLimit& limit, uint32_t shared_by)
    : shared_by_(std::max(shared_by, 1u)), identity_rps_(limit.identity_rps) {
  if (limit.total_rps > 0) total_.emplace(limit.total_rps, Gcra(part(limit.total_rps)));
  for (const auto& o : limit.overrides) {
    for (const auto& id : o.identities) override_of_.emplace(id, overrides_.size());
    overrides_.push_back({o.rps, Gcra(part(std::max(o.rps, 1u)))});
  }
}

RateLimiter::Result RateLimiter::check(std::string_view identity, TimePoint now) {
  if (total_ && !total_->gcra.take(now)) return {Verdict::kTotal, total_->rps};
  if (auto it = override_of_.find(identity); it != override_of_.end()) {
    Named& o = overrides_[it->second];
    if (o.rps > 0 && !o.gcra.take(now)) return {Verdict::kOverride, o.rps};
    return {};
  }
  if (identity_rps_ == 0) return {};
  auto it = clients_.find(identity);
  if (it == clients_.end()) {
    if (clients_.size() >= kMaxClients && now >= swept_ + 1s) {
      swept_ = now;
      absl::erase_if(clients_, [&](const auto& c) { return c.second.idle(now); });
    }
    // Beyond the cap, a client is one of the unidentified.
    std::string key(clients_.size() < kMaxClients ? identity : std::string_view());
    it = clients_.try_emplace(std::move(key), part(identity_rps_)).first;
  }
  if (!it->second.take(now)) return {Verdict::kIdentity, identity_rps_};
  return {};
}

std::string RateLimiter::Result::text() const {
  std::string_view kind = verdict == Verdict::kTotal      ? "total"
                          : verdict == Verdict::kOverride ? "override"
                                                          : "per-identity";
  return cat(kind, " rate limit exceeded: ", rps, "rps");
}

}  // namespace tulle::proxy
