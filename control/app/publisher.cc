#include "control/app/publisher.h"

#include <algorithm>

namespace tulle::control {
namespace {
constexpr Duration kDebounce = 20ms;
}

Publisher::Publisher(rt::Reactor& reactor, Plane& plane, std::function<void()> before)
    : rt::Timer(reactor), reactor_(reactor), plane_(plane), before_(std::move(before)), changed_(reactor) {
  plane_.on_dirty = [this] {
    dirty_ = true;
    if (!armed()) arm(std::max(reactor_.now(), last_ + kDebounce));
  };
}

void Publisher::on_timer() {
  last_ = reactor_.now();
  dirty_ = false;
  ++count_;
  before_();
  plane_.publish();
  changed_.notify();
}

rt::Task<void> Publisher::published(TimePoint deadline) {
  while ((dirty_ || behind_ > 0) && reactor_.now() < deadline) co_await changed_.wait_until(deadline);
}

}  // namespace tulle::control
