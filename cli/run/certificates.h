// What `tulle check` says of certificates. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/pod/check.h"
#include "libs/base/time.h"

namespace tulle::cli {

// One line for each certificate that the answer of /v1/mesh lists (the trust root and the issuer): kWarn from 30 days
// before its end, more urgently from 14, kFail from 3. `log`: the control plane's, for remedies.
std::vector<CheckResult> check_certificates(std::string_view mesh_json, std::string_view log, WallTime now);

// A running pod's.
struct PodCertificate {
  std::string pod;                  // "shop/api-1"
  std::optional<WallTime> expires;  // nothing: its proxy did not say
};
// One line for all of them: about the one that ends first. Proxies renew at 70 % of the lifetime, so kWarn where less
// than 20 % is left, or a proxy did not say; kFail where one has ended. `mesh_json` has the lifetime.
CheckResult check_pod_certificates(const std::vector<PodCertificate>& pods, std::string_view mesh_json, WallTime now);

}  // namespace tulle::cli
