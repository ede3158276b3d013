#include "cli/pod/caps.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace tulle::cli {
namespace {

Result<> set(CapMask mask, CapMask inheritable) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) {
    data[i].effective = data[i].permitted = static_cast<uint32_t>(mask >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(inheritable >> (32 * i));
  }
  if (syscall(SYS_capset, &header, data) != 0) return fail(sys_error("capset", errno));
  return {};
}

}  // namespace

CapMask current_caps() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return 0;
  return data[0].effective | static_cast<CapMask>(data[1].effective) << 32;
}

Result<> keep_caps(CapMask mask) {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return set(mask, 0);
}

Result<> limit_caps(CapMask mask) {
  // The kernel says which capability is the last one it knows by refusing the next.
  for (int n = 0; n < 64 && prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0; ++n) {
    if (mask & cap(n)) continue;
    if (prctl(PR_CAPBSET_DROP, n, 0, 0, 0) != 0) return fail(sys_error("dropping capabilities", errno));
  }
  return {};
}

Result<> keep_caps_over_exec(CapMask mask) {
  TULLE_TRY_VOID(limit_caps(mask));
  TULLE_TRY_VOID(set(mask, mask));
  for (int n = 0; n < 64; ++n) {
    if (!(mask & cap(n))) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0) != 0) return fail(sys_error("ambient capability", errno));
  }
  return {};
}

}  // namespace tulle::cli
