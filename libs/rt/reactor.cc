#include "libs/rt/reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>

#include "libs/base/check.h"

namespace tulle::rt {

void Timer::arm(TimePoint when) {
  unlink();
  if (when != kNever) reactor_.timers().arm(*this, when);
}

TimerWheel::TimerWheel(TimePoint start) : start_(start) {}

uint64_t TimerWheel::tick_of(TimePoint t) const {
  if (t <= start_) return 0;
  // Rounded up: a timer is never early.
  return static_cast<uint64_t>((t - start_ + 999'999ns) / 1ms);
}

void TimerWheel::arm(Timer& timer, TimePoint when) {
  timer.tick_ = std::max(tick_of(when), now_tick_ + 1);
  place(timer);
}

void TimerWheel::place(Timer& timer) {
  uint64_t ahead = timer.tick_ > now_tick_ ? timer.tick_ - now_tick_ : 0;
  int level = 0;
  while (level < kLevels - 1 && ahead >= (1ull << (kBits * (level + 1)))) ++level;
  uint64_t at = timer.tick_;
  if (ahead >= (1ull << (kBits * kLevels))) at = now_tick_ + (1ull << (kBits * kLevels)) - 1;
  size_t i = (at >> (kBits * level)) & (kPlaces - 1);
  places_[level][i].push_back(timer);
  used_[level][i / 64] |= 1ull << (i % 64);
}

void TimerWheel::advance(TimePoint now) {
  uint64_t target = now <= start_ ? 0 : static_cast<uint64_t>((now - start_) / 1ms);
  while (now_tick_ < target) {
    now_tick_ = std::min(target, next_tick());
    for (int level = 1; level < kLevels; ++level) {
      if (now_tick_ & ((1ull << (kBits * level)) - 1)) break;
      List<Timer> moving;
      moving.splice(places_[level][(now_tick_ >> (kBits * level)) & (kPlaces - 1)]);
      while (Timer* t = moving.pop_front()) place(*t);
    }
    List<Timer> due;
    due.splice(places_[0][now_tick_ & (kPlaces - 1)]);
    while (Timer* t = due.pop_front()) {
      if (t->tick_ > now_tick_) place(*t);
      else t->on_timer();
    }
  }
}

// The next tick at which something is due or comes down a level: the next occupied place of the lowest level, or the
// next turn-over of a higher one. kNoTick when nothing is armed.
uint64_t TimerWheel::next_tick() {
  uint64_t best = kNoTick;
  for (int level = 0; level < kLevels; ++level) {
    uint64_t base = now_tick_ >> (kBits * level);
    for (uint64_t ahead = 1; ahead <= kPlaces;) {
      size_t i = (base + ahead) & (kPlaces - 1);
      uint64_t word = used_[level][i / 64] >> (i % 64);
      if (!word) {
        ahead += 64 - i % 64;
        continue;
      }
      ahead += static_cast<uint64_t>(std::countr_zero(word));
      if (ahead > kPlaces) break;
      i = (base + ahead) & (kPlaces - 1);
      if (!places_[level][i].empty()) {
        best = std::min(best, (base + ahead) << (kBits * level));
        break;
      }
      used_[level][i / 64] &= ~(1ull << (i % 64));
      ++ahead;
    }
  }
  return best;
}

int TimerWheel::wait_ms(TimePoint now) {
  uint64_t next = next_tick();
  if (next == kNoTick) return -1;
  TimePoint due = start_ + std::chrono::milliseconds(next);
  if (due <= now) return 0;
  auto ms = (due - now + 999'999ns) / 1ms;
  return static_cast<int>(std::min<int64_t>(ms, std::numeric_limits<int>::max()));
}

Reactor::Reactor(uint64_t seed, const TimePoint* clock)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      clock_(clock),
      now_(read_clock()),
      rng_(seed ? Rng(seed) : Rng::from_system()),
      timers_(now_) {
  TULLE_CHECK(epoll_ && wake_);
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.ptr = nullptr;
  TULLE_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &e) == 0);
}

Reactor::~Reactor() = default;

void Reactor::run() {
  stopped_ = false;
  while (!stopped_) turn(24h);
}

void Reactor::stop() {
  post([this] { stopped_ = true; });
}

void Reactor::turn(Duration max_wait) {
  constexpr int kBatch = 512;
  epoll_event batch[kBatch];
  int64_t wait = std::chrono::duration_cast<std::chrono::milliseconds>(max_wait).count();
  if (!ready_.empty() || !flush_.empty()) wait = 0;
  else if (int t = timers_.wait_ms(now_); t >= 0) wait = std::min<int64_t>(wait, t);
  int n = epoll_wait(epoll_.get(), batch, kBatch, static_cast<int>(std::min<int64_t>(wait, 86'400'000)));
  now_ = read_clock();
  TULLE_CHECK(n >= 0 || errno == EINTR);

  events_.clear();
  event_at_ = 0;
  bool woken = false;
  for (int i = 0; i < n; ++i) {
    if (batch[i].data.ptr) events_.emplace_back(batch[i].events, static_cast<FdHandler*>(batch[i].data.ptr));
    else woken = true;
  }
  timers_.advance(now_);
  if (woken) run_posted();
  while (event_at_ < events_.size()) {
    auto [events, handler] = events_[event_at_++];
    if (handler) handler->on_ready(events);
  }
  run_lists();

  int64_t held = (read_clock() - now_).count();
  if (held > longest_turn_.load(std::memory_order_relaxed)) longest_turn_.store(held, std::memory_order_relaxed);
}

void Reactor::run_lists() {
  for (;;) {
    if (Runnable* r = ready_.pop_front()) r->run();
    else if (Runnable* f = flush_.pop_front()) f->run();
    else return;
  }
}

void Reactor::post(std::move_only_function<void()> f) {
  bool send;
  {
    std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(f));
    send = !std::exchange(wake_sent_, true);
  }
  uint64_t one = 1;
  if (send) TULLE_CHECK(::write(wake_.get(), &one, sizeof one) == sizeof one);
}

void Reactor::run_posted() {
  uint64_t count;
  while (::read(wake_.get(), &count, sizeof count) > 0) {
  }
  std::vector<std::move_only_function<void()>> work;
  {
    std::lock_guard lock(posted_mutex_);
    work.swap(posted_);
    wake_sent_ = false;
  }
  for (auto& f : work) f();
}

Result<> Reactor::watch(int fd, FdHandler& handler) {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  e.data.ptr = &handler;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) return fail(sys_error("epoll_ctl", errno));
  return {};
}

void Reactor::forget(int fd, FdHandler& handler) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (size_t i = event_at_; i < events_.size(); ++i)
    if (events_[i].second == &handler) events_[i].second = nullptr;
}

char* Reactor::scratch() {
  if (!scratch_) scratch_.reset(new char[kScratch]);
  return scratch_.get();
}

char* Reactor::plain_scratch() {
  if (!plain_scratch_) plain_scratch_.reset(new char[kPlainScratch]);
  return plain_scratch_.get();
}

Duration Reactor::take_longest_turn() { return Duration(longest_turn_.exchange(0, std::memory_order_relaxed)); }

}  // namespace tulle::rt
