// Probes of the machine: can pods run here, and if not, what to do. Used by `tulle check` and, when something fails, by
// `tulle run`.
#pragma once

#include <string>
#include <vector>

#include "libs/base/time.h"

namespace tulle::cli {

enum class Verdict { kOk, kWarn, kFail };

struct CheckResult {
  std::string name;
  Verdict verdict = Verdict::kOk;
  std::string detail;  // one line
  std::string remedy;  // a command or a sentence; empty when kOk
};

// Makes a pod and throws it away again; looks at the kernel, the clock and the disk. `folders` are where state is
// kept (a missing one is judged by its parent). Blocks for some 30 ms; same conditions as Pod::create.
std::vector<CheckResult> check_environment(WallTime now, const std::vector<std::string>& folders);

}  // namespace tulle::cli
