// What a pod sees of the file system: the host's, but for name resolution and /proc.
#pragma once

#include <string>

#include "libs/base/result.h"

namespace tulle::cli {

// Nothing mounted here reaches the host. Run once, first, in the pod's mount namespace.
Result<> detach_mounts();

// Puts `resolv_conf` over /etc/resolv.conf (where its symlink points), makes nsswitch.conf look up hosts by files and
// DNS only, and hides the Unix sockets of nscd and systemd-resolved: they would answer from the host's network.
// Where the host has no resolv.conf, nothing is mounted: then the C library asks 127.0.0.1, which is right, and
// `need_environment` is set: search domains must come by LOCALDOMAIN and RES_OPTIONS.
Result<> mount_name_resolution(const std::string& resolv_conf, bool& need_environment);

// A /proc of the pod's own PID namespace. Fails with EPERM where the caller's /proc is partly covered (containers).
Result<> mount_proc();

// `text` of an nsswitch.conf with its "hosts:" line replaced by "hosts: files dns" (appended if there is none).
std::string nsswitch_for_pod(const std::string& text);

}  // namespace tulle::cli
