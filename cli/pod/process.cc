#include "cli/pod/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "libs/base/strings.h"

namespace tulle::cli {

std::vector<char*> exec_array(const std::vector<std::string>& strings) {
  std::vector<char*> array;
  array.reserve(strings.size() + 1);
  for (const std::string& s : strings) array.push_back(const_cast<char*>(s.c_str()));
  array.push_back(nullptr);
  return array;
}

Result<> write_file(const std::string& path, std::string_view text) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail(sys_error(path, errno));
  ssize_t n = ::write(fd.get(), text.data(), text.size());
  if (n < 0) return fail(sys_error(path, errno));
  if (static_cast<size_t>(n) != text.size()) return fail(Code::kIo, cat(path, ": short write"));
  return {};
}

std::string read_small_file(const std::string& path, size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  if (!fd) return text;
  text.resize(limit);
  size_t got = 0;
  while (got < limit) {
    ssize_t n = ::read(fd.get(), text.data() + got, limit - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  text.resize(got);
  return text;
}

Result<> run_program(const std::vector<std::string>& argv, std::string_view input, CapMask caps) {
  int in[2], err[2];
  if (::pipe2(in, O_CLOEXEC) != 0) return fail(sys_error("pipe", errno));
  Fd in_read(in[0]), in_write(in[1]);
  if (::pipe2(err, O_CLOEXEC) != 0) return fail(sys_error("pipe", errno));
  Fd err_read(err[0]), err_write(err[1]);

  auto array = exec_array(argv);
  pid_t pid = ::fork();
  if (pid < 0) return fail(sys_error("fork", errno));
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    ::dup2(in_read.get(), 0);
    ::dup2(err_write.get(), 1);
    ::dup2(err_write.get(), 2);
    if (caps && !keep_caps_over_exec(caps)) _exit(126);
    ::execv(array[0], array.data());
    dprintf(2, "%s: cannot be started (errno %d)", array[0], errno);
    _exit(127);
  }
  in_read.reset();
  err_write.reset();
  ssize_t written = ::write(in_write.get(), input.data(), input.size());
  in_write.reset();

  std::string said;
  char chunk[4096];
  for (ssize_t n; (n = ::read(err_read.get(), chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR);) {
    if (n > 0 && said.size() < 16 * sizeof chunk) said.append(chunk, static_cast<size_t>(n));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0 && written == static_cast<ssize_t>(input.size())) return {};
  std::string line(trim(split(said, '\n')[0]));
  if (line.empty()) line = cat("exit status ", shell_status(status));
  return fail(Code::kIo, cat(argv[0], ": ", line));
}

std::string find_program(std::string_view name) {
  const char* path = ::getenv("PATH");
  std::string folders = cat(path ? path : "", ":/usr/sbin:/sbin:/usr/bin:/bin");
  for (std::string_view folder : split(folders, ':')) {
    if (folder.empty() || folder[0] != '/') continue;
    std::string full = cat(folder, "/", name);
    if (::access(full.c_str(), X_OK) == 0) return full;
  }
  return {};
}

int shell_status(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

}  // namespace tulle::cli
