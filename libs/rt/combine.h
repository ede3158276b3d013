// with_deadline: an operation that ends in time, one way or the other.
#pragma once

#include <optional>

#include "libs/base/result.h"
#include "libs/rt/reactor.h"
#include "libs/rt/task.h"

namespace tulle::rt {

namespace detail {
template <class T>
class DeadlineAwaiter final : public Timer {
 public:
  DeadlineAwaiter(Reactor& r, TimePoint deadline, Task<T> task)
      : Timer(r), reactor_(r), deadline_(deadline), task_(std::move(task)) {}
  bool await_ready() const { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) {
    resume_.handle = h;
    arm(deadline_);
    task_.handle().promise().continuation = h;
    return task_.handle();
  }
  std::optional<T> await_resume() {
    disarm();
    resume_.unlink();
    if (task_.done()) return task_.handle().promise().take();
    task_.reset();
    return std::nullopt;
  }
  void on_timer() override { reactor_.schedule(resume_); }

 private:
  Reactor& reactor_;
  TimePoint deadline_;
  Task<T> task_;
  Resume resume_;
};
}  // namespace detail

// Runs `task` until it ends or `deadline` passes; then it is cancelled and the result is nothing.
template <class T>
Task<std::optional<T>> until(Reactor& reactor, TimePoint deadline, Task<T> task) {
  co_return co_await detail::DeadlineAwaiter<T>(reactor, deadline, std::move(task));
}

// The same with an Error of Code::kTimeout, "WHAT: deadline passed".
template <class T>
Task<Result<T>> with_deadline(Reactor& reactor, TimePoint deadline, std::string_view what, Task<Result<T>> task) {
  auto r = co_await detail::DeadlineAwaiter<Result<T>>(reactor, deadline, std::move(task));
  if (r) co_return std::move(*r);
  co_return fail(Code::kTimeout, std::string(what) + ": deadline passed", Side::kPeer, Retry::kIdempotentOnly);
}

}  // namespace tulle::rt
