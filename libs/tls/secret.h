// Secrets that are not keys of certificates: random bytes and message authentication. Pure but for the randomness; any
// thread.
#pragma once

#include <string>

#include "libs/base/strings.h"

namespace tulle::tls {

// n bytes of the library's random generator, fit for keys.
std::string random_bytes(size_t n);
// HMAC-SHA-256 (RFC 2104): 32 bytes.
std::string hmac_sha256(Bytes key, Bytes data);
// Compares in a time that depends on the sizes only.
bool equal_secrets(Bytes a, Bytes b);

}  // namespace tulle::tls
