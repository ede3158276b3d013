// The names that a pod's resolver answers (DESIGN §7.8). Pure.
#pragma once

#include <string_view>

#include "control/index/index.h"
#include "libs/wire/tulle.h"

namespace tulle::control {

// For workloads of namespace `ns`: NAME.NS.svc.DOMAIN for each Service (its address, or those of its ready instances
// where it is headless), POD.NAME.NS.svc.DOMAIN for the instances of headless ones; the search list lets NAME, NAME.NS
// and NAME.NS.svc be said for short. Its version is left 0.
wire::NameTable names(const Snapshot& snapshot, std::string_view ns);

}  // namespace tulle::control
