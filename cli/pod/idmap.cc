#include "cli/pod/idmap.h"

#include <unistd.h>

#include <vector>

#include "cli/pod/process.h"
#include "libs/base/strings.h"

namespace tulle::cli {

std::string identity_map(std::string_view own_map) {
  std::string out;
  for (std::string_view line : split(own_map, '\n')) {
    std::vector<std::string_view> words;
    for (std::string_view word : split(line, ' '))
      if (!word.empty()) words.push_back(word);
    if (words.size() == 3) append(out, words[0], " ", words[0], " ", words[2], "\n");
  }
  return out;
}

Result<> write_id_maps(pid_t pid) {
  const std::string proc = cat("/proc/", pid, "/");
  if (::geteuid() == 0) {
    auto users = write_file(proc + "uid_map", identity_map(read_small_file("/proc/self/uid_map")));
    if (users) return write_file(proc + "gid_map", identity_map(read_small_file("/proc/self/gid_map")));
    if (users.error().sys != EPERM) return users;  // a root without CAP_SETUID maps itself, as others do
  }
  TULLE_TRY_VOID(write_file(proc + "uid_map", cat(::geteuid(), " ", ::geteuid(), " 1\n")));
  TULLE_TRY_VOID(write_file(proc + "setgroups", "deny"));
  return write_file(proc + "gid_map", cat(::getegid(), " ", ::getegid(), " 1\n"));
}

}  // namespace tulle::cli
