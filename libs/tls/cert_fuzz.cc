// Whatever is read as a certificate, request, PEM text or key: no crash, and what was read can be used.
#include "libs/base/check.h"
#include "libs/tls/ca.h"
#include "libs/tls/verify.h"

using namespace tulle;
using namespace tulle::tls;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const WallTime now(std::chrono::seconds(1'800'000'000));
  static const Authority root = *Authority::make_root("root", 24h, now);
  static const TrustBundle bundle = *TrustBundle::from_ders(root.chain());
  Bytes bytes(reinterpret_cast<const char*>(data), size);

  if (auto cert = read_cert(bytes))
    for (const Identity& id : cert->identities) TULLE_CHECK(Identity::parse(id.name()) == id);
  (void)verify_peer({&bytes, 1}, bundle, PeerRole::kClient, now);
  if (auto csr = parse_csr(bytes)) {
    auto issued = root.issue(*csr, {&csr->name, 1}, 1h, 1s, now);
    TULLE_CHECK(issued && verify_chain({issued->leaf}, bundle, PeerRole::kServer, now)->is(csr->name));
  }
  if (auto ders = certs_from_pem(bytes)) {
    TULLE_CHECK(certs_from_pem(certs_to_pem(*ders)) == *ders);
    TULLE_CHECK(TrustBundle::from_ders(*ders).has_value());
  }
  if (auto key = PrivateKey::from_pem(bytes)) (void)key->to_pem();
  (void)PrivateKey::from_pkcs8(bytes);
  return 0;
}
