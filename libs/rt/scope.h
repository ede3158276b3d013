// Who owns work that runs in the background: a Running (one task) or a Scope (any number). Nothing is detached: a task
// ends with its owner at the latest, where it stands.
#pragma once

#include "libs/base/list.h"
#include "libs/rt/reactor.h"
#include "libs/rt/signal.h"
#include "libs/rt/task.h"

namespace tulle::rt {

// One task, started later in this turn. Destroying it cancels the task; a task must not destroy its own Running.
class Running final : private Completion, private Runnable {
 public:
  // `when_done` is scheduled when the task has ended by itself; it may destroy this object.
  Running(Reactor& reactor, Task<void> task, Runnable* when_done = nullptr)
      : reactor_(reactor), task_(std::move(task)), when_done_(when_done) {
    task_.handle().promise().completion = this;
    reactor_.schedule(*this);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  bool done() const { return done_; }

 private:
  void run() override { task_.handle().resume(); }
  void on_done() override {
    done_ = true;
    if (when_done_) reactor_.schedule(*when_done_);
  }

  Reactor& reactor_;
  Task<void> task_;
  Runnable* when_done_;
  bool done_ = false;
};

// Any number of tasks.
class Scope {
 public:
  explicit Scope(Reactor& reactor) : reactor_(reactor), changed_(reactor) {}
  // Cancels all. Must not happen inside one of its own tasks.
  ~Scope() { cancel(); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  void spawn(Task<void> task) {
    entries_.push_back(*new Entry(*this, std::move(task)));
    ++size_;
  }
  void cancel() {
    while (Entry* e = entries_.pop_front()) {
      --size_;
      delete e;
    }
    changed_.notify();
  }
  // Number of unfinished tasks.
  size_t size() const { return size_; }
  // Waits until no task is left.
  Task<void> join() {
    while (size_ > 0) co_await changed_.wait();
  }
  Reactor& reactor() { return reactor_; }

 private:
  struct Entry final : ListNode {
    struct Done final : Runnable {
      Entry* entry;
      explicit Done(Entry* e) : entry(e) {}
      void run() override { entry->scope.retire(entry); }
    };
    Scope& scope;
    Done on_done;
    Running running;
    Entry(Scope& s, Task<void> t) : scope(s), on_done(this), running(s.reactor_, std::move(t), &on_done) {}
  };
  void retire(Entry* e) {
    --size_;
    delete e;
    changed_.notify();
  }

  Reactor& reactor_;
  Signal changed_;
  size_t size_ = 0;
  List<Entry> entries_;
};

}  // namespace tulle::rt
