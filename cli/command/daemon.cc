#include "cli/command/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "cli/pod/process.h"
#include "libs/base/fd.h"
#include "libs/base/strings.h"

namespace tulle::cli {

std::string ProcessId::to_string() const { return cat(pid, ' ', started, '\n'); }

std::optional<ProcessId> ProcessId::parse(std::string_view text) {
  std::vector<std::string_view> words = split(trim(text), ' ');
  if (words.size() != 2) return std::nullopt;
  auto pid = parse_number<uint32_t>(words[0]);
  auto started = parse_number<uint64_t>(words[1]);
  if (!pid || *pid == 0 || *pid > 0x7fffffff || !started) return std::nullopt;
  return ProcessId{static_cast<pid_t>(*pid), *started};
}

std::optional<ProcessId> find_process(pid_t pid) {
  // "PID (NAME) STATE …"; the name may hold anything, so what counts starts after the last ")".
  std::string stat = read_small_file(cat("/proc/", pid, "/stat"));
  size_t end = stat.rfind(") ");
  if (end == std::string::npos) return std::nullopt;
  std::vector<std::string_view> fields = split(std::string_view(stat).substr(end + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return std::nullopt;
  auto started = parse_number<uint64_t>(fields[19]);
  if (!started) return std::nullopt;
  return ProcessId{pid, *started};
}

bool is_alive(const ProcessId& process) { return find_process(process.pid) == process; }

bool is_stopped(const ProcessId& process) {
  std::string stat = read_small_file(cat("/proc/", process.pid, "/stat"));
  size_t end = stat.rfind(") ");
  return end != std::string::npos && std::string_view(stat).substr(end + 2).starts_with("T");
}

std::optional<ProcessId> read_pid_file(const std::string& path) {
  auto process = ProcessId::parse(read_small_file(path));
  if (!process || !is_alive(*process)) return std::nullopt;
  return process;
}

// Between fork and exec; never returns. Tells `report` the errno of a failure.
[[noreturn]] static void become(const DaemonSpec& spec, char* const* argv, int log, int report, pid_t parent) {
  if (spec.detached) {
    ::setsid();
  } else {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(null, 0);
  ::dup2(log, 1);
  ::dup2(log, 2);
  ::execv(argv[0], argv);
  int err = errno;
  (void)!::write(report, &err, sizeof err);
  ::_exit(127);
}

Result<ProcessId> start_daemon(const DaemonSpec& spec) {
  ::rename(spec.log_path.c_str(), cat(spec.log_path, ".old").c_str());
  Fd log(::open(spec.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return fail(sys_error(spec.log_path, errno));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(sys_error("pipe", errno));
  Fd read_end(ends[0]), write_end(ends[1]);
  std::vector<char*> argv = exec_array(spec.command);
  pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid < 0) return fail(sys_error("fork", errno));
  if (pid == 0) become(spec, argv.data(), log.get(), write_end.get(), parent);
  write_end.reset();
  int err = 0;
  if (::read(read_end.get(), &err, sizeof err) == sizeof err) {
    ::waitpid(pid, nullptr, 0);
    return fail(sys_error(spec.command[0], err));
  }
  auto process = find_process(pid);
  if (process) return *process;
  ::waitpid(pid, nullptr, 0);
  return fail(Code::kInternal, cat(spec.command[0], " has ended at once; the end of ", spec.log_path, ":\n",
                                   log_tail(spec.log_path, 10)));
}

// Waits until it is gone; false after `patience`.
static bool wait_gone(const ProcessId& process, int pidfd, Duration patience) {
  pollfd p{pidfd, POLLIN, 0};
  int n;
  do n = ::poll(&p, 1, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(patience).count()));
  while (n < 0 && errno == EINTR);
  if (n > 0) ::waitpid(process.pid, nullptr, WNOHANG);  // where it is our child
  return n > 0;
}

bool end_process(const ProcessId& process, Duration patience) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // Looked at after the pidfd was opened: from here on the pid cannot come to mean another process.
  if (!pidfd || !is_alive(process)) return true;
  auto send = [&](int signal) { ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0); };
  send(SIGTERM);
  if (wait_gone(process, pidfd.get(), patience)) return true;
  send(SIGKILL);
  wait_gone(process, pidfd.get(), 5s);
  return false;
}

std::string log_tail(const std::string& path, size_t lines) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return "";
  char buffer[8192];
  off_t size = ::lseek(fd.get(), 0, SEEK_END);
  off_t from = size > static_cast<off_t>(sizeof buffer) ? size - static_cast<off_t>(sizeof buffer) : 0;
  ssize_t n = ::pread(fd.get(), buffer, sizeof buffer, from);
  if (n <= 0) return "";
  std::string_view text(buffer, static_cast<size_t>(n));
  size_t at = text.size();
  for (size_t line = 0; line <= lines && at != 0 && at != text.npos; ++line) at = text.rfind('\n', at - 1);
  return std::string(at == text.npos || at == 0 ? text : text.substr(at + 1));
}

}  // namespace tulle::cli
