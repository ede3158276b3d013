// Capabilities of the calling thread, set with plain system calls (no libcap).
#pragma once

#include <cstdint>

#include "libs/base/result.h"

namespace tulle::cli {

// A set of capabilities as a bit mask: 1 << CAP_….
using CapMask = uint64_t;
constexpr CapMask cap(int number) { return CapMask{1} << number; }

// What the calling thread can use now (its effective set).
CapMask current_caps();
// Keeps exactly `mask` as permitted and effective; nothing inheritable, nothing ambient.
Result<> keep_caps(CapMask mask);
// The same, and an exec keeps `mask` too, whoever the user is (ambient capabilities), and can never give more
// (bounding set). Clears the parent-death signal's guarantees: set that afterwards.
Result<> keep_caps_over_exec(CapMask mask);
// No exec can ever give more than `mask` (bounding set). Needs CAP_SETPCAP.
Result<> limit_caps(CapMask mask);

}  // namespace tulle::cli
