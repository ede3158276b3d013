#include "control/identity/certify.h"

#include "control/identity/token.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {
using grpc::StatusCode;
std::unexpected<grpc::Status> refuse(StatusCode code, std::string message) {
  return std::unexpected(grpc::Status(code, std::move(message)));
}
}  // namespace

grpc::Outcome<wire::CertifyResponse> certify(const Authorities& authorities, const MeshConfig& mesh,
                                             const CertifyOptions& options, const wire::CertifyRequest& request,
                                             WallTime now) {
  if (request.identity.empty()) return refuse(StatusCode::kInvalidArgument, "missing identity");
  if (request.token.empty()) return refuse(StatusCode::kInvalidArgument, "missing token");
  if (request.csr.empty()) return refuse(StatusCode::kInvalidArgument, "missing certificate signing request");
  auto csr = tls::parse_csr(request.csr);
  if (!csr) return refuse(StatusCode::kInvalidArgument, csr.error().reason);
  if (auto ok = authorities.issuer.verify(authorities.roots, now); !ok)
    return refuse(StatusCode::kUnknown, cat("the issuer cannot sign: ", ok.error().reason));
  if (csr->name.name() != request.identity)
    return refuse(StatusCode::kFailedPrecondition,
                  cat("the request is for ", csr->name.name(), ", not for ", quoted(request.identity)));

  auto subject = check_token(authorities.token_key, request.token, now);
  if (!subject) {
    bool denied = subject.error().code == Code::kDenied;
    return refuse(denied ? StatusCode::kFailedPrecondition : StatusCode::kInvalidArgument, subject.error().reason);
  }
  std::string identity = mesh.identity(subject->ns, subject->service_account);
  if (identity != request.identity)
    return refuse(StatusCode::kFailedPrecondition,
                  cat("the token is of ", identity, ", not of ", quoted(request.identity)));

  auto issued = authorities.issuer.issue(*csr, {&csr->name, 1}, options.lifetime, options.skew, now);
  if (!issued)
    return refuse(issued.error().code == Code::kInvalid ? StatusCode::kFailedPrecondition : StatusCode::kUnavailable,
                  issued.error().reason);
  return wire::CertifyResponse{std::move(issued->leaf), std::move(issued->chain), issued->not_after};
}

}  // namespace tulle::control
