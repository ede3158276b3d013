// Task<T>: a coroutine with one owner.
//
// Lazy: it starts when it is awaited (or spawned in a Scope). Destroying an unfinished Task destroys its frame and
// everything that it was waiting for: that is how work is cancelled. A Task never outlives what its parameters refer
// to; parameters of class type are moved into the frame and have user-written constructors (a compiler trap:
// docs/ARCHITECTURE.md, "Coroutines").
#pragma once

#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>

#include "libs/base/check.h"

namespace tulle::rt {

// Told when a task that nobody awaits has ended; must not destroy the task then and there.
class Completion {
 public:
  virtual void on_done() = 0;

 protected:
  ~Completion() = default;
};

namespace detail {

// Frames come from a free list per thread: a request makes a handful of them.
void* allocate_frame(size_t size);
void free_frame(void* frame, size_t size) noexcept;

}  // namespace detail

// A base of what each request makes on the heap: its memory comes from the free list of frames. Deleted on the thread
// that made it, or at least on one that lives on.
struct Pooled {
  static void* operator new(size_t size) { return detail::allocate_frame(size); }
  static void operator delete(void* p, size_t size) { detail::free_frame(p, size); }
};

namespace detail {

struct PromiseBase : Pooled {
  std::coroutine_handle<> continuation;
  Completion* completion = nullptr;

  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    bool await_ready() noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
      if (h.promise().continuation) return h.promise().continuation;
      if (h.promise().completion) h.promise().completion->on_done();
      return std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  auto get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  template <class U>
  void return_value(U&& u) {
    value.emplace(std::forward<U>(u));
  }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  auto get_return_object() { return std::coroutine_handle<Promise>::from_promise(*this); }
  void return_void() {}
  void take() {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  Task(Handle h) : handle_(h) {}  // NOLINT: what get_return_object gives
  Task(Task&& o) noexcept : handle_(std::exchange(o.handle_, {})) {}
  Task& operator=(Task&& o) noexcept {
    if (this != &o) {
      reset();
      handle_ = std::exchange(o.handle_, {});
    }
    return *this;
  }
  ~Task() { reset(); }

  explicit operator bool() const { return static_cast<bool>(handle_); }
  bool done() const { return handle_ && handle_.done(); }
  // Ends it where it stands. Must not be called from inside the task itself.
  void reset() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }

  auto operator co_await() && noexcept {
    struct Awaiter {
      Handle h;
      explicit Awaiter(Handle handle) : h(handle) {}
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
        h.promise().continuation = caller;
        return h;
      }
      T await_resume() { return h.promise().take(); }
    };
    return Awaiter(handle_);
  }

  // For Running and the combinators, which start it themselves.
  Handle handle() const { return handle_; }

 private:
  Handle handle_;
};

}  // namespace tulle::rt
