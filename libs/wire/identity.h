// Certification (io.linkerd.proxy.identity). See types.h for the rules of encode and decode.
#pragma once

#include "libs/wire/types.h"

namespace tulle::wire {

inline constexpr std::string_view kIdentityCertify = "/io.linkerd.proxy.identity.Identity/Certify";

struct CertifyRequest {
  std::string identity;  // the name asked for; never empty
  std::string token;     // never empty
  std::string csr;       // PKCS#10, DER
  bool operator==(const CertifyRequest&) const = default;
};

struct CertifyResponse {
  std::string leaf;                        // DER; never empty
  std::vector<std::string> intermediates;  // DER, the leaf's issuer first
  WallTime valid_until;
  bool operator==(const CertifyResponse&) const = default;
};

std::string encode(const CertifyRequest& v);
std::string encode(const CertifyResponse& v);
Result<CertifyRequest> decode_certify_request(Bytes bytes);
Result<CertifyResponse> decode_certify_response(Bytes bytes);

}  // namespace tulle::wire
