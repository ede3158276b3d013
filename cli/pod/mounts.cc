#include "cli/pod/mounts.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "cli/pod/process.h"
#include "libs/base/fd.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

Result<> mount_tmpfs(const std::string& at) {
  if (::mount("tmpfs", at.c_str(), "tmpfs", kFlags, "size=256k,mode=755") != 0)
    return fail(sys_error(cat("mounting a tmpfs on ", at), errno));
  return {};
}

Result<> create_file(const std::string& path, const std::string& text) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!fd || ::fchmod(fd.get(), 0444) != 0) return fail(sys_error(path, errno));
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return fail(sys_error(path, errno));
  return {};
}

// Mounts file `from` over file `to`, read-only.
Result<> cover_file(const std::string& from, const std::string& to) {
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
      ::mount(nullptr, to.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kFlags, nullptr) != 0)
    return fail(sys_error(cat("mounting over ", to), errno));
  return {};
}

// Covers a folder of the host, where it exists, with one that holds only `files` (name, content).
Result<> cover_folder(const std::string& path, const std::vector<std::pair<std::string, std::string>>& files) {
  struct stat s;
  if (::stat(path.c_str(), &s) != 0 || !S_ISDIR(s.st_mode)) return {};
  TULLE_TRY_VOID(mount_tmpfs(path));
  for (const auto& [name, text] : files) TULLE_TRY_VOID(create_file(cat(path, "/", name), text));
  return {};
}

// The file that a path names in the end; empty when there is none.
std::string real_path(const char* path) {
  std::unique_ptr<char, decltype(&::free)> real(::realpath(path, nullptr), &::free);
  return real ? std::string(real.get()) : std::string();
}

}  // namespace

std::string nsswitch_for_pod(const std::string& text) {
  std::string out;
  bool done = false;
  for (std::string_view line : split(text, '\n')) {
    std::string_view rest = trim(line);
    if (rest.starts_with("hosts:")) {
      if (!done) append(out, "hosts: files dns\n");
      done = true;
    } else if (!rest.empty()) {
      append(out, line, '\n');
    }
  }
  if (!done) append(out, "hosts: files dns\n");
  return out;
}

Result<> detach_mounts() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return fail(sys_error("mount namespace", errno));
  return {};
}

Result<> mount_name_resolution(const std::string& resolv_conf, bool& need_environment) {
  // The two folders first: resolv.conf is often a link into the second one.
  TULLE_TRY_VOID(cover_folder("/run/nscd", {}));
  TULLE_TRY_VOID(
      cover_folder("/run/systemd/resolve", {{"resolv.conf", resolv_conf}, {"stub-resolv.conf", resolv_conf}}));

  // The new files live in a tmpfs that is covered again at once: the mounts made from it keep it alive.
  std::string resolv = real_path("/etc/resolv.conf");
  std::string nsswitch = real_path("/etc/nsswitch.conf");
  std::string nsswitch_text = nsswitch_for_pod(nsswitch.empty() ? "" : read_small_file(nsswitch));
  need_environment = resolv.empty();
  const std::string stage = "/proc";
  TULLE_TRY_VOID(mount_tmpfs(stage));
  TULLE_TRY_VOID(create_file(stage + "/resolv.conf", resolv_conf));
  TULLE_TRY_VOID(create_file(stage + "/nsswitch.conf", nsswitch_text));
  if (!resolv.empty()) TULLE_TRY_VOID(cover_file(stage + "/resolv.conf", resolv));
  if (!nsswitch.empty()) TULLE_TRY_VOID(cover_file(stage + "/nsswitch.conf", nsswitch));
  if (::umount2(stage.c_str(), MNT_DETACH) != 0) return fail(sys_error("umount", errno));
  return {};
}

Result<> mount_proc() {
  if (::mount("proc", "/proc", "proc", kFlags, nullptr) != 0) return fail(sys_error("mounting /proc", errno));
  return {};
}

}  // namespace tulle::cli
