// What parses is canonical: it parses to itself, and a workload name leads back to it.
#include "libs/base/check.h"
#include "libs/tls/identity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::tls;
  auto id = Identity::parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!id) return 0;
  TULLE_CHECK(Identity::parse(id->name()) == *id);
  if (auto w = workload_of(*id)) {
    auto again = id->is_dns() ? dns_identity(*w) : spiffe_identity(*w);
    TULLE_CHECK(!again || *again == *id);
  }
  return 0;
}
