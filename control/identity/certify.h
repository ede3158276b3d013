// The answer of io.linkerd.proxy.identity.Identity/Certify. Pure.
#pragma once

#include "control/identity/authority.h"
#include "control/index/mesh.h"
#include "libs/grpc/status.h"
#include "libs/wire/identity.h"

namespace tulle::control {

struct CertifyOptions {
  Duration lifetime = 24h;
  Duration skew = 20s;  // clocks may differ by this much
};

// Checks in Linkerd's order with its status codes (reference: control-plane.md §6.2), then signs.
grpc::Outcome<wire::CertifyResponse> certify(const Authorities& authorities, const MeshConfig& mesh,
                                             const CertifyOptions& options, const wire::CertifyRequest& request,
                                             WallTime now);

}  // namespace tulle::control
