#include "proxy/discovery/certify.h"

#include <algorithm>

#include "libs/base/file.h"
#include "libs/base/log.h"
#include "libs/base/strings.h"
#include "libs/grpc/client.h"
#include "libs/observe/families.h"
#include "proxy/balance/backoff.h"
#include "proxy/discovery/control_client.h"

namespace tulle::proxy {
namespace {

constexpr size_t kMaxTokenBytes = 64 * 1024;
constexpr size_t kMaxKeyBytes = 64 * 1024;

WallTime system_wall() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

double unix_seconds(WallTime t) { return to_seconds(t.time_since_epoch()); }

// The token's place may be named, never the token.
Result<std::string> read_token(const std::string& path) {
  auto text = read_file(path, kMaxTokenBytes);
  if (!text) return fail(std::move(text).error().with("identity token"));
  std::string token(trim(*text));
  tls::cleanse(*text);
  if (token.empty()) return fail(Code::kInvalid, cat("identity token: ", path, " is empty"));
  return token;
}

// Asking again soon is right when nobody was there to ask, not when the answer was no.
bool is_transport(const grpc::Status& s) {
  return s.code == grpc::StatusCode::kUnavailable || s.code == grpc::StatusCode::kDeadlineExceeded;
}

}  // namespace

Result<KeyAndCsr> load_key(const IdentityConfig& config) {
  if (config.ephemeral) {
    TULLE_TRY(auto key, tls::PrivateKey::generate());
    TULLE_TRY(auto csr, tls::make_csr(key, config.name));
    return KeyAndCsr{std::move(key), std::move(csr)};
  }
  std::string key_path = cat(config.dir, "/key.p8"), csr_path = cat(config.dir, "/csr.der");
  auto key_bytes = read_file(key_path, kMaxKeyBytes);
  if (!key_bytes) return fail(std::move(key_bytes).error().with("LINKERD2_PROXY_IDENTITY_DIR"));
  auto key = tls::PrivateKey::from_pkcs8(*key_bytes);
  tls::cleanse(*key_bytes);
  if (!key) return fail(std::move(key).error().with(key_path));
  auto csr = read_file(csr_path, tls::kMaxCertBytes);
  if (!csr) return fail(std::move(csr).error().with("LINKERD2_PROXY_IDENTITY_DIR"));
  if (csr->empty()) return fail(Code::kInvalid, cat(csr_path, " is empty"));
  return KeyAndCsr{std::move(*key), std::move(*csr)};
}

Duration renewal_delay(Duration remaining, const IdentityConfig& config) {
  return std::clamp(remaining / 10 * 7, config.min_refresh, config.max_refresh);
}

Result<std::unique_ptr<Certifier>> Certifier::make(rt::Reactor& reactor, CertifierOptions options,
                                                   observe::Shard& shard, OnContext on_context) {
  TULLE_TRY(auto key, load_key(*options.config));
  auto roots = tls::TrustBundle::from_pem(options.config->trust_anchors_pem);
  if (!roots) return fail(std::move(roots).error().with("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"));
  std::unique_ptr<Certifier> out(
      new Certifier(reactor, std::move(options), std::move(key), std::move(*roots), shard, std::move(on_context)));
  TULLE_TRY(out->context_, out->build(std::nullopt, out->roots_));
  return out;
}

Certifier::Certifier(rt::Reactor& reactor, CertifierOptions options, KeyAndCsr key, tls::TrustBundle roots,
                     observe::Shard& shard, OnContext on_context)
    : reactor_(reactor),
      options_(std::move(options)),
      key_(std::move(key)),
      roots_(std::move(roots)),
      on_context_(std::move(on_context)),
      renew_now_(reactor),
      expiration_(shard.gauge(observe::kIdentityCertExpiration)),
      refresh_(shard.gauge(observe::kIdentityCertRefresh)),
      ok_(shard.counter(observe::kIdentityCertRefreshesTotal, observe::Labels().add("result", "ok"))),
      failed_(shard.counter(observe::kIdentityCertRefreshesTotal, observe::Labels().add("result", "error"))),
      tasks_(reactor) {}

WallTime Certifier::wall() const { return options_.wall_clock ? options_.wall_clock() : system_wall(); }

void Certifier::start(httpio::Client& client) { tasks_.spawn(renew_forever(client)); }

rt::Task<void> Certifier::renew_forever(httpio::Client& client) {
  Backoff soon(options_.backoff.min, options_.backoff.max, options_.backoff.jitter);
  for (;;) {
    grpc::Status status = co_await certify(client);
    WallTime now = wall();
    Duration delay = valid_at(now) ? renewal_delay(valid_until_ - now, *options_.config) : options_.config->min_refresh;
    if (status.ok()) {
      soon.reset();
      ok_->add();
      log_info("certified", {{"identity", options_.config->name.name()}, {"until", format_rfc3339(valid_until_)}});
    } else {
      failed_->add();
      if (is_transport(status)) delay = std::min(delay, std::max(soon.next(reactor_.rng()), Duration(1ms)));
      log_warn("cannot certify", {{"identity", options_.config->name.name()},
                                  {"error", status.to_string()},
                                  {"retry_in", format_duration(delay)}});
    }
    co_await rest(delay);
  }
}

bool Certifier::valid_at(WallTime now) const { return certified() && valid_from_ <= now && now < valid_until_; }

// Until the delay is over, by either clock: the reactor's does not run while the machine sleeps, and does not know when
// the other one is set. Ends at once when a certificate that was valid is not so any more.
rt::Task<void> Certifier::rest(Duration delay) {
  constexpr Duration kLook = 1s;
  TimePoint end = reactor_.now() + delay;
  WallTime began = wall();
  bool valid = valid_at(began);
  while (reactor_.now() < end) {
    if (co_await renew_now_.wait_until(std::min(end, reactor_.now() + kLook))) co_return;
    WallTime now = wall();
    if (valid && (now - began >= delay || !valid_at(now))) co_return;
  }
}

rt::Task<grpc::Status> Certifier::certify(httpio::Client& client) {
  auto token = read_token(options_.config->token_file);
  if (!token) co_return grpc::Status(grpc::StatusCode::kFailedPrecondition, std::move(token).error().reason);
  wire::CertifyRequest request{options_.config->name.name(), std::move(*token), key_.csr};
  ControlCall counted(options_.series, reactor_);
  auto answer = co_await grpc::unary(reactor_, client, options_.authority, std::string(wire::kIdentityCertify),
                                     wire::encode(request), reactor_.now() + options_.call_timeout);
  tls::cleanse(request.token);
  counted.end(answer ? grpc::Status() : answer.error());
  if (!answer) co_return std::move(answer).error();
  auto certificate = wire::decode_certify_response(*answer);
  auto installed = certificate ? install(std::move(*certificate)) : Result<>(fail(std::move(certificate).error()));
  if (!installed) co_return grpc::Status(grpc::StatusCode::kInternal, std::move(installed).error().reason);
  if (!watching_bundles_) {
    // The first connection was made without a certificate of ours; what follows shall be asked by name.
    client.drain();
    watching_bundles_ = true;
    tasks_.spawn(watch_bundles(client));
  }
  co_return grpc::Status();
}

Result<> Certifier::install(wire::CertifyResponse answer) {
  WallTime now = wall();
  if (answer.valid_until <= now)
    return fail(Code::kIdentity,
                cat("the certificate is valid until ", format_rfc3339(answer.valid_until), ", which has passed"),
                Side::kPeer);
  tls::Credentials credentials{key_.key, {}};
  credentials.chain.push_back(std::move(answer.leaf));
  for (auto& c : answer.intermediates) credentials.chain.push_back(std::move(c));
  TULLE_TRY(auto context, build(credentials, roots_));
  valid_from_ = context->not_before();
  valid_until_ = std::min(answer.valid_until, context->not_after());
  credentials_ = std::move(credentials);
  expiration_->set(unix_seconds(valid_until_));
  refresh_->set(unix_seconds(now));
  context_ = std::move(context);
  on_context_(context_);
  return {};
}

Result<std::shared_ptr<const tls::Context>> Certifier::build(std::optional<tls::Credentials> credentials,
                                                             const tls::TrustBundle& roots) const {
  tls::ContextOptions o(roots);
  if (credentials) {
    o.identity = options_.config->name;
    o.server_names = {options_.config->server_name};
  }
  o.credentials = std::move(credentials);
  o.resumption = options_.config->resumption;
  o.wall_clock = options_.wall_clock;
  return tls::Context::make(std::move(o));
}

rt::Task<void> Certifier::watch_bundles(httpio::Client& client) {
  constexpr Duration kUnimplementedRetry = 5min;  // the control plane may be a newer one by then
  Backoff backoff(options_.backoff.min, options_.backoff.max, options_.backoff.jitter);
  std::string request = wire::encode(wire::WatchTrustBundleRequest{options_.workload});
  for (;;) {
    grpc::Status status(grpc::StatusCode::kUnavailable, "the stream ended");
    auto call = co_await grpc::call(client, options_.authority, std::string(wire::kTrustBundlesWatch), request);
    if (!call) status = std::move(call).error();
    while (call) {
      auto message = co_await call->read();
      if (!message) status = std::move(message).error();
      if (!message || !*message) break;
      auto bundle = wire::decode_trust_bundle(**message);
      if (bundle) {
        backoff.reset();
        apply_bundle(*bundle);
      } else {
        log_warn("trust bundle cannot be used", {{"error", bundle.error().reason}});
      }
    }
    bool lacking = status.code == grpc::StatusCode::kUnimplemented;
    log_debug("watch of trust bundles ended", {{"status", status.to_string()}});
    co_await rt::sleep_for(reactor_, lacking ? kUnimplementedRetry : backoff.next(reactor_.rng()));
  }
}

void Certifier::apply_bundle(const wire::TrustBundle& bundle) {
  auto roots = tls::TrustBundle::from_pem(bundle.anchors_pem);
  if (!roots) {
    log_warn("trust bundle cannot be used", {{"error", roots.error().reason}});
    return;
  }
  if (!bundle.revoked.empty())
    log_warn("revocations are not supported yet: revoked certificates stay valid until they expire",
             {{"revoked", bundle.revoked.size()}});
  if (*roots == roots_) return;
  auto context = build(credentials_, *roots);
  roots_ = std::move(*roots);
  if (!context) {
    log_warn("our certificate does not lead to the new trust anchors; asking for another",
             {{"error", context.error().reason}});
    renew_now_.notify();
    return;
  }
  log_info("trust anchors replaced", {{"anchors", roots_.roots().size()}});
  context_ = std::move(*context);
  if (certified()) on_context_(context_);
}

}  // namespace tulle::proxy
