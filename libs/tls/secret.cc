#include "libs/tls/secret.h"

#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>

#include "libs/base/check.h"

namespace tulle::tls {

std::string random_bytes(size_t n) {
  std::string out(n, '\0');
  RAND_bytes(reinterpret_cast<uint8_t*>(out.data()), n);  // aborts rather than fail
  return out;
}

std::string hmac_sha256(Bytes key, Bytes data) {
  uint8_t out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const uint8_t* ok = HMAC(EVP_sha256(), key.data(), key.size(), reinterpret_cast<const uint8_t*>(data.data()),
                           data.size(), out, &size);
  TULLE_CHECK(ok != nullptr && size == 32);
  return std::string(reinterpret_cast<char*>(out), size);
}

bool equal_secrets(Bytes a, Bytes b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace tulle::tls
