// The process's memory against its limit: above 90 % of it, the connections that hold most are ended, largest first.
//
// What counts is what the process has resident, since that is what it dies of; what can be had back without harm is
// given back first. One per process, on the control thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/app/heap.h"
#include "proxy/app/worker_thread.h"

namespace tulle::proxy {

struct MemoryLimit {
  size_t bytes = 0;
  std::string from;  // which file, or "the machine"
};
// The least of what the process's control group and those above it allow (cgroup v2 memory.max, v1
// memory.limit_in_bytes) and what the machine has. `root`: before each path, for tests.
MemoryLimit memory_limit(const std::string& root = {});

// What is too much: bytes of `resident` above 90 % of `limit`.
size_t memory_excess(size_t resident, size_t limit);
// Which of `all` to end so that `excess` bytes go, largest first. None where all connections together hold (`total`)
// less than a sixteenth of `limit`: then it is not they that fill the memory, and ending them would not help.
std::vector<WorkerThread::Holding> choose_shed(std::vector<WorkerThread::Holding> all, size_t total, size_t excess,
                                               size_t limit);

class MemoryGuard {
 public:
  MemoryGuard(rt::Reactor& control, size_t limit, std::vector<std::unique_ptr<WorkerThread>>& workers);
  // Looks each 100 ms. Never ends.
  rt::Task<void> run();

 private:
  rt::Task<void> shed(size_t resident);

  rt::Reactor& control_;
  const size_t limit_;
  std::vector<std::unique_ptr<WorkerThread>>& workers_;
  HeapKeeper heap_;
  // Of the round under way.
  size_t answers_ = 0, total_ = 0;
  std::vector<WorkerThread::Holding> found_;
  rt::Signal answered_;
  TimePoint told_ = TimePoint::min();  // when it last said that it cannot help
};

}  // namespace tulle::proxy
