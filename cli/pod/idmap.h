// User and group ids of a pod's user namespace.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace tulle::cli {

// Maps ids in the new user namespace of process `pid` (a child of the caller), each id to itself: for real root all
// that the caller's own namespace has, so that programs can switch user; for others the caller's own, and supplementary
// groups cannot be changed (the kernel's condition).
Result<> write_id_maps(pid_t pid);

// The identity map of all ids that `own_map` (/proc/self/uid_map) covers.
std::string identity_map(std::string_view own_map);

}  // namespace tulle::cli
