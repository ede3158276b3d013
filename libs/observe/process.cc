#include "libs/observe/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libs/base/check.h"
#include "libs/base/fd.h"
#include "libs/base/strings.h"
#include "libs/observe/families.h"

namespace tulle::observe {
namespace {

constexpr Family kStartTime =
    om_gauge("process_start_time_seconds", "Time that the process started (in seconds since the UNIX epoch)");
constexpr Family kClockTime = om_gauge("process_clock_time_seconds", "Current system time for this proxy");
constexpr Family kVirtual = om_gauge("process_virtual_memory_bytes", "Virtual memory size in bytes");
constexpr Family kResident = om_gauge("process_resident_memory_bytes", "Resident memory size in bytes");
constexpr Family kOpenFds = om_gauge("process_open_fds", "Number of open file descriptors");
constexpr Family kMaxFds = om_gauge("process_max_fds", "Maximum number of open file descriptors");
constexpr Family kThreads = om_gauge("process_threads", "Number of OS threads in the process");
constexpr Family kUptime =
    om_counter("process_uptime_seconds_total", "Total time since the process started (in seconds)");
constexpr Family kCpu = om_counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds");
constexpr Family kReceived =
    om_counter("process_network_receive_bytes_total", "Number of bytes received by the process over the network");
constexpr Family kTransmitted =
    om_counter("process_network_transmit_bytes_total", "Number of bytes sent by the process over the network");

double unix_seconds(WallTime t) { return to_seconds(t.time_since_epoch()); }

// The start of a /proc file; 64 kB hold all that is asked of it.
std::string read_proc(const char* path) {
  Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text(64 * 1024, '\0');
  size_t size = 0;
  while (fd && size < text.size()) {
    ssize_t n = ::read(fd.get(), text.data() + size, text.size() - size);
    if (n <= 0) break;
    size += static_cast<size_t>(n);
  }
  text.resize(size);
  return text;
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  for (std::string_view word : split(line, ' '))
    if (!word.empty()) out.push_back(word);
  return out;
}

// /proc/self/stat after "PID (NAME) ": [0] is field 3.
void refresh_stat(GaugeRef& threads, GaugeRef& virtual_bytes, GaugeRef& resident_bytes) {
  std::string text = read_proc("/proc/self/stat");
  size_t end = text.rfind(") ");
  if (end == std::string::npos) return;
  auto fields = words(std::string_view(text).substr(end + 2));
  if (fields.size() < 22) return;
  if (auto n = parse_number<uint64_t>(fields[17])) threads->set(static_cast<double>(*n));
  if (auto n = parse_number<uint64_t>(fields[20])) virtual_bytes->set(static_cast<double>(*n));
  if (auto n = parse_number<uint64_t>(fields[21]))
    resident_bytes->set(static_cast<double>(*n) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
}

// Received and sent bytes of all devices but lo: "  eth0: RX … (8 numbers) TX …".
void refresh_network(CounterRef& received, CounterRef& transmitted) {
  std::string text = read_proc("/proc/self/net/dev");
  uint64_t in = 0, out = 0;
  for (std::string_view line : split(text, '\n')) {
    size_t colon = line.find(':');
    if (colon == line.npos || trim(line.substr(0, colon)) == "lo") continue;
    auto numbers = words(line.substr(colon + 1));
    if (numbers.size() < 9) continue;
    in += parse_number<uint64_t>(numbers[0]).value_or(0);
    out += parse_number<uint64_t>(numbers[8]).value_or(0);
  }
  received->set(in);
  transmitted->set(out);
}

size_t count_fds() {
  DIR* dir = ::opendir("/proc/self/fd");
  if (!dir) return 0;
  size_t n = 0;
  while (const dirent* entry = ::readdir(dir))
    if (entry->d_name[0] != '.') ++n;
  ::closedir(dir);
  return n - 1;  // the folder's own
}

}  // namespace

ProcessMetrics::ProcessMetrics(Shard& shard, WallTime started)
    : started_(started),
      start_time_(shard.gauge(kStartTime)),
      clock_time_(shard.gauge(kClockTime)),
      virtual_bytes_(shard.gauge(kVirtual)),
      resident_bytes_(shard.gauge(kResident)),
      open_fds_(shard.gauge(kOpenFds)),
      max_fds_(shard.gauge(kMaxFds)),
      threads_(shard.gauge(kThreads)),
      uptime_(shard.gauge(kUptime)),
      cpu_(shard.gauge(kCpu)),
      received_(shard.counter(kReceived)),
      transmitted_(shard.counter(kTransmitted)),
      bugs_(shard.counter(kBugsTotal)) {
  start_time_->set(unix_seconds(started));
}

void ProcessMetrics::refresh(WallTime now) {
  clock_time_->set(unix_seconds(now));
  uptime_->set(to_seconds(now - started_));
  refresh_stat(threads_, virtual_bytes_, resident_bytes_);
  refresh_network(received_, transmitted_);
  bugs_->set(bug_count());
  open_fds_->set(static_cast<double>(count_fds()));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) max_fds_->set(static_cast<double>(limit.rlim_cur));
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    cpu_->set(seconds(usage.ru_utime) + seconds(usage.ru_stime));
  }
}

}  // namespace tulle::observe
