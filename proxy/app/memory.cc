#include "proxy/app/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "libs/base/log.h"
#include "libs/base/strings.h"

namespace tulle::proxy {
namespace {

// A file of a control group that holds a number; nothing for "max", or where there is none.
std::optional<size_t> number_in(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  if (!std::getline(in, text)) return std::nullopt;
  return parse_number<size_t>(trim(text));
}

// The limits of a group and of those above it, up to where the file system of groups begins.
void look_up(const std::string& root, std::string_view mount, std::string group, std::string_view file,
             MemoryLimit& limit) {
  if (group.contains("..")) group = "/";  // outside of what we see; what we see as the root is ours or above it
  for (;;) {
    std::string path = cat(mount, group == "/" ? "" : group, "/", file);
    if (auto n = number_in(root + path); n && *n > 0 && *n < limit.bytes) limit = {*n, path};
    if (group.empty() || group == "/") return;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

}  // namespace

MemoryLimit memory_limit(const std::string& root) {
  MemoryLimit limit{static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE)),
                    "the machine"};
  std::ifstream in(root + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {  // ID:CONTROLLERS:GROUP
    size_t first = line.find(':'), second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty()) {
      look_up(root, "/sys/fs/cgroup", group, "memory.max", limit);
      continue;
    }
    auto names = split(controllers, ',');
    if (std::ranges::find(names, "memory") != names.end())
      look_up(root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", limit);
  }
  return limit;
}

size_t memory_excess(size_t resident, size_t limit) {
  size_t mark = limit - limit / 10;
  return resident > mark ? resident - mark : 0;
}

std::vector<WorkerThread::Holding> choose_shed(std::vector<WorkerThread::Holding> all, size_t total, size_t excess,
                                               size_t limit) {
  if (total < limit / 16) return {};
  std::ranges::sort(all, [](const auto& a, const auto& b) { return a.of.bytes > b.of.bytes; });
  size_t n = 0, gone = 0;
  while (n < all.size() && gone < excess) gone += all[n++].of.bytes;
  all.resize(n);
  return all;
}

MemoryGuard::MemoryGuard(rt::Reactor& control, size_t limit, std::vector<std::unique_ptr<WorkerThread>>& workers)
    : control_(control),
      limit_(limit),
      workers_(workers),
      heap_(std::clamp<size_t>(limit / 64, 256 * 1024, HeapKeeper::kUsual)),
      answered_(control) {}

rt::Task<void> MemoryGuard::run() {
  for (;;) {
    co_await rt::sleep_for(control_, 100ms);
    size_t resident = resident_bytes();
    if (memory_excess(resident, limit_) == 0) continue;
    heap_.look();
    resident = resident_bytes();
    if (memory_excess(resident, limit_) > 0) co_await shed(resident);
  }
}

rt::Task<void> MemoryGuard::shed(size_t resident) {
  found_.clear();
  answers_ = total_ = 0;
  for (size_t i = 0; i < workers_.size(); ++i)
    workers_[i]->largest([this, i](std::vector<WorkerThread::Holding> some, size_t total) {
      for (auto& h : some) h.worker = i;
      control_.post([this, some = std::move(some), total] {
        found_.insert(found_.end(), some.begin(), some.end());
        total_ += total;
        ++answers_;
        answered_.notify();
      });
    });
  while (answers_ < workers_.size()) co_await answered_.wait();
  std::string why = cat(resident >> 20, " MB of ", limit_ >> 20, " MB are in use");
  auto chosen = choose_shed(found_, total_, memory_excess(resident, limit_), limit_);
  for (const auto& h : chosen) workers_[h.worker]->shed(h, why);
  if (!chosen.empty() || control_.now() < told_ + 60s) co_return;
  told_ = control_.now();
  log_warn("memory is short, and not for what connections hold", {{"why", why}, {"connections_hold", total_}});
}

}  // namespace tulle::proxy
