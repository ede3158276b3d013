#include "proxy/balance/breaker.h"

#include <algorithm>

#include "libs/base/check.h"

namespace tulle::proxy {
namespace {

Backoff backoff_of(const std::optional<wire::FailureAccrual>& policy) {
  if (!policy) return Backoff(1s, 1s, 0);
  const auto& b = std::visit([](const auto& kind) -> const wire::Backoff& { return kind.backoff; }, policy->kind);
  return Backoff(b.min, b.max, b.jitter);
}

}  // namespace

Breaker::Breaker(const std::optional<wire::FailureAccrual>& policy, TimePoint now) : backoff_(backoff_of(policy)) {
  if (!policy) return;
  if (auto* c = std::get_if<wire::ConsecutiveFailures>(&policy->kind)) {
    mode_ = Mode::kConsecutive;
    max_in_row_ = c->max_failures;
    return;
  }
  const auto& u = std::get<wire::UnifiedAccrual>(policy->kind);
  mode_ = Mode::kUnified;
  max_in_row_ = u.max_consecutive_failures;
  min_requests_ = u.min_requests;
  threshold_ = static_cast<uint32_t>(std::clamp(u.success_rate_threshold, 0.0, 1.0) * 10'000 + 0.5);
  window_.bucket = std::max<Duration>(u.window / Window::kBuckets, 1ms);
  window_.started = now;
}

Breaker::Ticket Breaker::begin(TimePoint now) {
  if (state_ == State::kOpen && now >= retry_at_) {
    state_ = State::kProbing;
    ++life_;
  }
  return Ticket(life_);
}

Breaker::Change Breaker::end(Ticket ticket, Outcome outcome, TimePoint now, Rng& rng) {
  if (mode_ == Mode::kNever || ticket.life != life_ || state_ == State::kOpen) return Change::kNone;
  if (state_ == State::kProbing) {
    // A probe that ended without an answer makes room for the next at once.
    if (outcome == Outcome::kNone) {
      state_ = State::kOpen;
      return Change::kNone;
    }
    bool good = outcome == Outcome::kSuccess || (outcome == Outcome::kRateLimited && mode_ == Mode::kConsecutive);
    if (!good) {
      open(now, rng);
      return Change::kReopened;
    }
    state_ = State::kClosed;
    ++life_;
    failures_in_row_ = 0;
    backoff_.reset();
    if (mode_ == Mode::kUnified) window_.clear(now);
    return Change::kRestored;
  }
  if (outcome == Outcome::kNone || !should_trip(outcome, now)) return Change::kNone;
  open(now, rng);
  return Change::kTripped;
}

bool Breaker::should_trip(Outcome outcome, TimePoint now) {
  // Being told to slow down is no failure of the endpoint, but no success either.
  if (outcome == Outcome::kFailure) ++failures_in_row_;
  else if (outcome == Outcome::kSuccess || mode_ == Mode::kConsecutive) failures_in_row_ = 0;
  if (max_in_row_ > 0 && failures_in_row_ >= max_in_row_) return true;
  if (mode_ != Mode::kUnified || threshold_ == 0) return false;
  window_.add(outcome == Outcome::kSuccess, now);
  Window::Bucket all = window_.sum();
  return all.total >= std::max(min_requests_, 1u) &&
         static_cast<uint64_t>(all.good) * 10'000 < static_cast<uint64_t>(threshold_) * all.total;
}

void Breaker::open(TimePoint now, Rng& rng) {
  state_ = State::kOpen;
  ++life_;
  failures_in_row_ = 0;
  retry_at_ = now + backoff_.next(rng);
}

void Breaker::Window::add(bool good, TimePoint now) {
  auto passed = (now - started) / bucket;
  if (passed > 0) {
    started += bucket * passed;
    for (int64_t i = 0; i < std::min<int64_t>(passed, kBuckets); ++i) {
      at = (at + 1) % kBuckets;
      buckets[at] = {};
    }
  }
  ++buckets[at].total;
  buckets[at].good += good ? 1 : 0;
}

void Breaker::Window::clear(TimePoint now) {
  buckets = {};
  started = now;
}

Breaker::Window::Bucket Breaker::Window::sum() const {
  Bucket all;
  for (const Bucket& b : buckets) {
    all.total += b.total;
    all.good += b.good;
  }
  return all;
}

}  // namespace tulle::proxy
