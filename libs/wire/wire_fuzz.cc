// Every decoder: the first byte chooses which. What is accepted must be the same after another round.
#include <cstdint>

#include "libs/base/check.h"
#include "libs/wire/codecs.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::wire;
  if (size == 0 || data[0] >= kCodecs.size()) return 0;
  const Codec& codec = kCodecs[data[0]];
  auto once = codec.again(tulle::Bytes(reinterpret_cast<const char*>(data) + 1, size - 1));
  if (!once || once->empty()) return 0;
  auto twice = codec.again(*once);
  TULLE_CHECK(twice && *twice == *once);
  return 0;
}
