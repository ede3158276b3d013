// ControlClient: an HTTP/2 client for one control-plane service, found by name, verified by identity, reconnecting.
// On the control thread.
//
// A new connection is made when a call needs one. After a failed or short-lived one the next attempt waits (doubling,
// with jitter), so callers may simply call again. Names are resolved for each connection: SRV first, then A and AAAA.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libs/grpc/status.h"
#include "libs/httpio/client.h"
#include "libs/net/resolver.h"
#include "libs/observe/http_series.h"
#include "libs/tls/context.h"
#include "proxy/balance/backoff.h"
#include "proxy/config/config.h"

namespace tulle::proxy {

struct ControlClientOptions {
  std::string service;                // for the metric of resolutions: "destination", "policy", "identity"
  observe::Shard* metrics = nullptr;  // the control thread's; null: none
  Duration connect_timeout = 1s;      // of TCP, for each address
  BackoffConfig backoff;
  net::SocketOptions socket;
  http::H2Options h2;
  // A control plane that has vanished is found, and another one asked. gRPC servers in Go, as Linkerd's are, send away
  // who asks more often than each five minutes, or with no stream open.
  httpio::KeepAliveOptions keep_alive{310s, 20s, false};
};
// What Linkerd uses: the inbound settings for a loopback address, the outbound ones for others. To a loopback address
// the delay is at most a second, so that the mesh of one machine is whole again soon after its control plane is; and
// it is asked each 10 s whether it lives.
ControlClientOptions control_client_options(const Config& config, const ControlAddr& addr);

// The address in the first label of a headless Service's SRV target, "10-0-0-1.name…" or "fd00--1.name…".
std::optional<IpAddr> address_in_name(std::string_view target);

class ControlClient {
 public:
  // The context to make a connection with, asked for each time.
  using ContextSource = std::function<std::shared_ptr<const tls::Context>()>;

  // `resolver` outlives this.
  ControlClient(rt::Reactor& reactor, net::Resolver& resolver, ControlAddr addr, ControlClientOptions options,
                ContextSource context);
  ~ControlClient();

  httpio::Client& http() { return *client_; }
  // control_request_total and its siblings for this service; null without metrics.
  observe::HttpSeries* series() { return series_ ? &*series_ : nullptr; }
  const std::string& authority() const { return addr_.authority; }

 private:
  rt::Task<Result<std::unique_ptr<net::Stream>>> dial();
  rt::Task<Result<std::unique_ptr<net::Stream>>> dial_any();
  rt::Task<Result<std::unique_ptr<net::Stream>>> dial_one(SocketAddr to);
  rt::Task<Result<std::vector<SocketAddr>>> resolve();
  void count_resolution(std::string_view type, bool ok);

  rt::Reactor& reactor_;
  net::Resolver& resolver_;
  ControlAddr addr_;
  ControlClientOptions options_;
  ContextSource context_;
  Backoff backoff_;
  TimePoint not_before_{};                 // of the next attempt
  std::optional<TimePoint> connected_at_;  // the last attempt was good
  std::optional<observe::HttpSeries> series_;
  std::unique_ptr<httpio::Client> client_;
};

// Counts one call of a control-plane service for as long as it lives; without end() it was cancelled.
class ControlCall {
 public:
  // `series` may be null: nothing is counted.
  ControlCall(observe::HttpSeries* series, rt::Reactor& reactor)
      : series_(series), reactor_(reactor), start_(reactor.now()) {
    if (series_) series_->request();
  }
  ControlCall(const ControlCall&) = delete;
  ~ControlCall() {
    if (series_) series_->response(outcome_, reactor_.now() - start_);
  }
  void end(const grpc::Status& status) {
    outcome_ = {.status = 200, .success = status.ok(), .grpc_status = static_cast<int>(status.code), .error = ""};
  }

 private:
  observe::HttpSeries* series_;
  rt::Reactor& reactor_;
  TimePoint start_;
  observe::Outcome outcome_{.status = 0, .success = false, .grpc_status = -1, .error = "CANCEL"};
};

}  // namespace tulle::proxy
