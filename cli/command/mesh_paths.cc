#include "cli/command/mesh_paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "libs/base/strings.h"

namespace tulle::cli {

// sockaddr_un holds 107 bytes and a zero.
static constexpr size_t kMaxSocketPath = 107;

Result<MeshPaths> mesh_paths(std::string_view name, unsigned uid, const std::function<std::string(const char*)>& env) {
  bool fine = !name.empty() && name.size() <= 40 && name.front() != '-' && name.back() != '-' &&
              std::ranges::all_of(name, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-'; });
  if (!fine)
    return fail(Code::kInvalid,
                cat("mesh name ", quoted(name), ": 1 to 40 of a–z, 0–9 and '-' are accepted, no '-' at either end"));
  std::string runtime = env("XDG_RUNTIME_DIR");
  runtime = runtime.starts_with('/') ? cat(runtime, "/tulle") : cat("/tmp/tulle-", uid);
  std::string state = env("XDG_STATE_HOME");
  if (!state.starts_with('/')) {
    std::string home = env("HOME");
    if (!home.starts_with('/')) return fail(Code::kInvalid, "neither HOME nor XDG_STATE_HOME is an absolute path");
    state = cat(home, "/.local/state");
  }
  MeshPaths paths{std::string(name), cat(runtime, '/', name), cat(runtime, '/', name, "/control.sock"),
                  cat(state, "/tulle/", name)};
  if (paths.socket.size() > kMaxSocketPath)
    return fail(Code::kTooLarge, cat("the socket's path ", paths.socket,
                                     " is longer than the system takes (107 bytes): "
                                     "set XDG_RUNTIME_DIR to a shorter one"));
  return paths;
}

Result<MeshPaths> mesh_paths(std::string_view name) {
  return mesh_paths(name, ::getuid(), [](const char* key) {
    const char* value = std::getenv(key);
    return std::string(value ? value : "");
  });
}

Result<> make_private_folder(const std::string& path) {
  std::string parent = std::filesystem::path(path).parent_path();
  // A folder in one that all may write to, such as /tmp, may be somebody else's trap: then it is looked at too.
  struct stat above{};
  bool open_to_all = ::stat(std::filesystem::path(parent).parent_path().c_str(), &above) == 0 && (above.st_mode & 002);
  // Another mesh that goes down takes the parent along when it leaves it empty: then once more.
  for (int tries = 5;; --tries) {
    if (parent.size() > 1 && (open_to_all || ::access(parent.c_str(), F_OK) != 0))
      TULLE_TRY_VOID(make_private_folder(parent));
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) break;
    if (errno != ENOENT || tries == 0) return fail(sys_error(cat("making folder ", path), errno));
  }
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0) return fail(sys_error(path, errno));
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::getuid() || (st.st_mode & 022) != 0)
    return fail(Code::kDenied, cat(path, " is not a folder of yours that only you may write to: remove it"));
  return {};
}

Result<std::string> program_folder() {
  char buffer[4096];
  ssize_t n = ::readlink("/proc/self/exe", buffer, sizeof buffer);
  if (n <= 0) return fail(sys_error("/proc/self/exe", errno));
  return std::filesystem::path(std::string(buffer, static_cast<size_t>(n))).parent_path().string();
}

}  // namespace tulle::cli
