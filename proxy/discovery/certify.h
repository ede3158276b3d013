// Certifier: gets this proxy's certificate and keeps it fresh. On the control thread.
//
// Each certificate becomes a new tls::Context; connections made with an older one go on undisturbed. A certificate that
// is wrong (name, chain, dates) is refused and the last good one stays. A machine that slept, or whose clock was set,
// makes it renew within a second: it goes by the wall clock too.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "libs/grpc/status.h"
#include "libs/httpio/client.h"
#include "libs/observe/http_series.h"
#include "libs/observe/metrics.h"
#include "libs/rt/scope.h"
#include "libs/tls/context.h"
#include "libs/wire/identity.h"
#include "libs/wire/tulle.h"
#include "proxy/config/config.h"

namespace tulle::proxy {

struct KeyAndCsr {
  tls::PrivateKey key;
  std::string csr;  // PKCS#10, DER
};
// From key.p8 and csr.der in the identity folder; or, when ephemeral, made now. Errors name the file.
Result<KeyAndCsr> load_key(const IdentityConfig& config);

// When to renew a certificate that has so long to live: at 70 % of that, within the bounds of the configuration.
Duration renewal_delay(Duration remaining, const IdentityConfig& config);

struct CertifierOptions {
  const IdentityConfig* config;           // outlives the certifier
  std::string workload;                   // for the watch of trust bundles
  std::string authority;                  // of the identity service
  observe::HttpSeries* series = nullptr;  // its calls are counted in; may be null
  BackoffConfig backoff;                  // when the service cannot be reached, and of that watch
  Duration call_timeout = 10s;            // of one Certify
  WallTime (*wall_clock)() = nullptr;     // nullptr: the system's
};

class Certifier {
 public:
  using OnContext = std::function<void(std::shared_ptr<const tls::Context>)>;

  // Reads key, CSR and trust anchors; asks nothing yet. `on_context` is called for each new context, first when
  // certified. `shard`: the control thread's.
  static Result<std::unique_ptr<Certifier>> make(rt::Reactor& reactor, CertifierOptions options, observe::Shard& shard,
                                                 OnContext on_context);
  // Starts to certify through `client` (of the identity service), which outlives this.
  void start(httpio::Client& client);

  // The last good one; before the first certificate one without credentials, with which control-plane servers can be
  // verified. Never null.
  const std::shared_ptr<const tls::Context>& context() const { return context_; }
  bool certified() const { return credentials_.has_value(); }

 private:
  Certifier(rt::Reactor& reactor, CertifierOptions options, KeyAndCsr key, tls::TrustBundle roots,
            observe::Shard& shard, OnContext on_context);
  rt::Task<void> renew_forever(httpio::Client& client);
  rt::Task<void> rest(Duration delay);
  rt::Task<grpc::Status> certify(httpio::Client& client);
  Result<> install(wire::CertifyResponse answer);
  rt::Task<void> watch_bundles(httpio::Client& client);
  void apply_bundle(const wire::TrustBundle& bundle);
  Result<std::shared_ptr<const tls::Context>> build(std::optional<tls::Credentials> credentials,
                                                    const tls::TrustBundle& roots) const;
  bool valid_at(WallTime now) const;
  WallTime wall() const;

  rt::Reactor& reactor_;
  CertifierOptions options_;
  KeyAndCsr key_;
  tls::TrustBundle roots_;
  std::optional<tls::Credentials> credentials_;  // of the last good certificate
  std::shared_ptr<const tls::Context> context_;
  WallTime valid_from_{}, valid_until_{};
  OnContext on_context_;
  rt::Signal renew_now_;
  bool watching_bundles_ = false;
  observe::GaugeRef expiration_, refresh_;
  observe::CounterRef ok_, failed_;
  rt::Scope tasks_;
};

}  // namespace tulle::proxy
