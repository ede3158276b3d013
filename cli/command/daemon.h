// Programs that `tulle up` starts and `tulle down` ends: started, remembered by pid and start time, found again, ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::cli {

// A process that is not mistaken for a later one with the same pid.
struct ProcessId {
  pid_t pid = 0;
  uint64_t started = 0;  // ticks since the machine's start, /proc/PID/stat field 22

  bool operator==(const ProcessId&) const = default;
  // "PID STARTED\n"
  std::string to_string() const;
  static std::optional<ProcessId> parse(std::string_view text);
};

// The process with that pid now; nothing when there is none, or a dead one not yet reaped.
std::optional<ProcessId> find_process(pid_t pid);
bool is_alive(const ProcessId& process);
// A signal has stopped it (SIGSTOP), and SIGCONT lets it go on.
bool is_stopped(const ProcessId& process);

// What a pid file says, if that process is still alive.
std::optional<ProcessId> read_pid_file(const std::string& path);

struct DaemonSpec {
  std::vector<std::string> command;  // command[0]: full path
  std::string log_path;              // standard output and error; one that is there becomes LOG.old
  bool detached = true;              // a session of its own; else it gets SIGTERM when this process ends
};
// Starts it. Error: it could not be executed.
Result<ProcessId> start_daemon(const DaemonSpec& spec);

// SIGTERM, and after `patience` SIGKILL; returns once it is gone. True: it ended by itself.
bool end_process(const ProcessId& process, Duration patience);

// The last lines of a file, for messages.
std::string log_tail(const std::string& path, size_t lines);

}  // namespace tulle::cli
