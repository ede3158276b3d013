#include "cli/pod/check.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/pod/pod.h"
#include "cli/pod/process.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

// The oldest kernel with all that a pod uses: close_range is from 5.9, Debian 11 has 5.10.
constexpr int kMajor = 5, kMinor = 10;

CheckResult check_kernel() {
  CheckResult r{"kernel", Verdict::kOk, "", ""};
  utsname name{};
  ::uname(&name);
  r.detail = cat("Linux ", name.release);
  auto parts = split(name.release, '.');
  int major = std::atoi(name.release), minor = parts.size() > 1 ? std::atoi(parts[1].data()) : 0;
  if (major < kMajor || (major == kMajor && minor < kMinor)) {
    r.verdict = Verdict::kFail;
    r.remedy = cat("use Linux ", kMajor, ".", kMinor, " or newer");
  }
  return r;
}

// One line per step of making a pod: those before the one that failed worked.
void check_pod(std::vector<CheckResult>& out) {
  PodSpec spec;
  spec.command = {"true"};
  spec.resolv_conf = default_resolv_conf("default");
  auto pod = Pod::create(spec);
  const Step last = pod ? Step::kDone : pod.error().step;
  static constexpr const char* kDetails[] = {"can be created",
                                             "name resolution can be set for a pod",
                                             "can be mounted afresh",
                                             "loopback and routes can be set",
                                             "the redirection can be loaded",
                                             "any port can be bound in a pod"};
  for (Step step = Step::kUserNamespace; step < Step::kDone; step = static_cast<Step>(static_cast<int>(step) + 1)) {
    CheckResult r{std::string(step_name(step)), Verdict::kOk, kDetails[static_cast<int>(step)], ""};
    if (step == last) {
      r = {r.name, Verdict::kFail, pod.error().error.reason, pod.error().remedy};
    } else if (step > last) {
      r = {r.name, Verdict::kFail, "not tried, for what is above", ""};
    } else if (pod) {
      for (const SetupError& w : pod->warnings())
        if (w.step == step) r = {r.name, Verdict::kWarn, w.error.reason, w.remedy};
    }
    out.push_back(std::move(r));
  }
}

CheckResult check_clock(WallTime now) {
  // A certificate made today is not valid for a machine that lives in the past.
  constexpr WallTime kThen = WallTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 1));
  CheckResult r{"clock", Verdict::kOk, format_rfc3339(now), ""};
  if (now < kThen) {
    r.verdict = Verdict::kFail;
    r.detail = cat("it says ", format_rfc3339(now), ", which is before this program was made");
    r.remedy = "set the clock: sudo timedatectl set-ntp true";
  }
  return r;
}

CheckResult check_disk(const std::string& folder) {
  CheckResult r{cat("disk ", folder), Verdict::kOk, "", ""};
  struct statvfs s{};
  std::string path = folder;
  int err = 0;
  while ((err = ::statvfs(path.c_str(), &s) == 0 ? 0 : errno) == ENOENT && path.size() > 1) {
    size_t slash = path.rfind('/');
    path.resize(slash == path.npos || slash == 0 ? 1 : slash);
  }
  if (err == 0 && ::access(path.c_str(), R_OK | W_OK | X_OK) != 0) err = errno;
  if (err != 0)
    return {r.name, Verdict::kFail, cat(path, ": ", std::strerror(err)),
            cat("make ", path,
                " a folder that you may read and write, or set XDG_STATE_HOME and XDG_RUNTIME_DIR to ones "
                "that are")};
  uint64_t free_mb = static_cast<uint64_t>(s.f_bavail) * s.f_frsize >> 20;
  r.detail = cat(free_mb, " MB free");
  if (free_mb < 50 || (s.f_files > 0 && s.f_favail < 100)) {
    r.verdict = Verdict::kFail;
    r.detail = free_mb < 50 ? cat("only ", free_mb, " MB free") : cat("only ", s.f_favail, " inodes free");
    r.remedy = cat("make room on the file system of ", folder, " (50 MB and 100 inodes are enough)");
  }
  return r;
}

}  // namespace

std::vector<CheckResult> check_environment(WallTime now, const std::vector<std::string>& folders) {
  std::vector<CheckResult> out;
  out.push_back(check_kernel());
  check_pod(out);
  out.push_back(check_clock(now));
  for (const std::string& folder : folders) out.push_back(check_disk(folder));
  return out;
}

}  // namespace tulle::cli
