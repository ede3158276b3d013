#include "libs/wire/identity.h"

#include "identity.pb.h"
#include "libs/wire/convert.h"

namespace tulle::wire {
namespace {
// More than any real token, request or certificate.
constexpr size_t kMaxToken = 64 * 1024;
constexpr size_t kMaxDer = 64 * 1024;
constexpr int kMaxChain = 32;
}  // namespace

std::string encode(const CertifyRequest& v) {
  pb::identity::CertifyRequest m;
  m.set_identity(v.identity);
  m.set_token(v.token);
  m.set_certificate_signing_request(v.csr);
  return serialize(m);
}

std::string encode(const CertifyResponse& v) {
  pb::identity::CertifyResponse m;
  m.set_leaf_certificate(v.leaf);
  for (const auto& c : v.intermediates) m.add_intermediate_certificates(c);
  write(v.valid_until, *m.mutable_valid_until());
  return serialize(m);
}

Result<CertifyRequest> decode_certify_request(Bytes bytes) {
  return decode_message<pb::identity::CertifyRequest>(bytes, "CertifyRequest", [](const auto& m, const At& at) {
    auto want = [&](std::string_view field, size_t size, size_t most) {
      if (size == 0) At(at, field).bad("missing");
      if (size > most) At(at, field).bad(cat(size, " bytes; at most ", most, " are accepted"));
    };
    want("identity", m.identity().size(), 2048);
    want("token", m.token().size(), kMaxToken);
    want("certificate_signing_request", m.certificate_signing_request().size(), kMaxDer);
    return CertifyRequest{m.identity(), m.token(), m.certificate_signing_request()};
  });
}

Result<CertifyResponse> decode_certify_response(Bytes bytes) {
  return decode_message<pb::identity::CertifyResponse>(bytes, "CertifyResponse", [](const auto& m, const At& at) {
    CertifyResponse out;
    out.leaf = m.leaf_certificate();
    if (out.leaf.empty() || out.leaf.size() > kMaxDer) At(at, "leaf_certificate").bad("missing or longer than 64 kB");
    if (m.intermediate_certificates_size() > kMaxChain) At(at, "intermediate_certificates").bad("more than 32");
    out.intermediates = read_list(m.intermediate_certificates(), at, "intermediate_certificates",
                                  [](const std::string& c, const At& a) {
                                    if (c.empty() || c.size() > kMaxDer) a.bad("empty or longer than 64 kB");
                                    return c;
                                  });
    if (!m.has_valid_until()) At(at, "valid_until").bad("missing");
    else out.valid_until = read_time(m.valid_until(), At(at, "valid_until"));
    return out;
  });
}

}  // namespace tulle::wire
