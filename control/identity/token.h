// Tokens by which a workload shows who it is when it asks for a certificate. In local mode the control plane signs
// them itself: JWTs with HS256 (RFC 7519), so that any tool can read them. Pure.
#pragma once

#include <string>
#include <string_view>

#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::control {

inline constexpr std::string_view kAudience = "identity.l5d.io";

// Whose it is.
struct TokenSubject {
  std::string ns;
  std::string service_account;
  std::string workload;
  bool operator==(const TokenSubject&) const = default;
};

// `key`: 32 bytes or more. Valid from now for `lifetime`.
std::string issue_token(std::string_view key, const TokenSubject& subject, Duration lifetime, WallTime now);

// Errors, in this order: kInvalid: not such a token, or for another audience. kDenied: not signed with the key, or
// expired.
Result<TokenSubject> check_token(std::string_view key, std::string_view token, WallTime now);

}  // namespace tulle::control
