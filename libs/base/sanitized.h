// Whether this is built for a sanitizer: then memory that is kept for reuse goes back to the allocator at once, where
// its use after that is seen.
#pragma once

namespace tulle {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
}  // namespace tulle
