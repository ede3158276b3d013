// Endpoint: one instance of a service as one worker sees it: the connections to it, how fast it answers, and whether it
// can be reached. Shared by the balancer that offers it and the exchanges that are on it; when discovery takes it away
// it gets no new requests and ends with its last exchange.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "libs/httpio/client.h"
#include "libs/observe/http_series.h"
#include "libs/wire/destination.h"
#include "libs/wire/outbound.h"
#include "libs/wire/transport.h"
#include "proxy/balance/ewma.h"
#include "proxy/worker/worker.h"

namespace tulle::proxy::outbound {

class Endpoint final : private net::Stream::Watcher {
 public:
  // What metrics say of the set that it is in; shared by all of the set.
  struct Group {
    std::string authority;  // the service's name; "" for a fixed endpoint
    wire::Labels labels;
    Group(std::string a, wire::Labels l) : authority(std::move(a)), labels(std::move(l)) {}
  };
  Endpoint(Worker& worker, std::shared_ptr<const wire::Endpoint> info, std::shared_ptr<const Group> group,
           const wire::LoadEstimate& load);
  Endpoint(const Endpoint&) = delete;

  const wire::Endpoint& info() const { return *info_; }
  SocketAddr addr() const { return info_->addr; }
  bool meshed() const { return info_->tls.has_value(); }
  // Who it proves to be; "" in plaintext.
  std::string_view identity() const { return info_->tls ? std::string_view(info_->tls->id) : std::string_view(); }

  // Sends a request's head in the form this endpoint wants: an HTTP/1 request to another proxy goes over HTTP/2 with
  // l5d-orig-proto. Afterwards `head` is as it was, for another attempt. `end`: there is no body.
  // `fresh`: as for httpio::Client::start().
  rt::Task<Result<std::unique_ptr<httpio::ClientExchange>>> send(http::RequestHead& head, bool end, bool fresh);
  // True when send() carries such a request over HTTP/2.
  bool upgrades(const http::RequestHead& head) const;
  // A connection for raw bytes; the transport header is sent where the endpoint takes one.
  rt::Task<Result<std::unique_ptr<net::Stream>>> open_stream();
  // Makes a connection, to see whether one can be made; kept where requests have gone over HTTP/2.
  rt::Task<Result<>> probe();
  // There is a connection that could be used at once.
  bool connected() const;

  // ---- Load: the latency estimate times the requests in flight
  double load(TimePoint now) const { return load_.load(in_flight_, now); }
  // Nanoseconds; measured(): at least one answer went into it.
  double estimate(TimePoint now) const { return load_.estimate(now); }
  bool measured() const { return measured_; }
  uint32_t in_flight() const { return in_flight_; }
  // Counts one request or stream for as long as it lives.
  class InFlight {
   public:
    InFlight(std::shared_ptr<Endpoint> e, TimePoint start) : endpoint_(std::move(e)), start_(start) {
      ++endpoint_->in_flight_;
    }
    InFlight(InFlight&&) noexcept = default;
    InFlight& operator=(InFlight&&) = delete;
    ~InFlight() {
      if (endpoint_) --endpoint_->in_flight_;
    }
    // The first sign of the response has come.
    void measured(TimePoint now) {
      if (std::exchange(measured_, true)) return;
      endpoint_->load_.add(now - start_, now);
      endpoint_->measured_ = true;
    }

   private:
    std::shared_ptr<Endpoint> endpoint_;
    TimePoint start_;
    bool measured_ = false;
  };

  // Discovery no longer lists it: no new connections; idle ones close.
  void retire();
  // Made when they are first needed: of thousands of endpoints a proxy uses few, and series are most of what one costs.
  observe::HttpSeries& series();
  observe::TcpSeries& tcp_series();

 private:
  rt::Task<Result<std::unique_ptr<httpio::ClientExchange>>> send_upgraded(http::RequestHead& head, bool end);
  rt::Task<Result<std::unique_ptr<net::Stream>>> connect(bool opaque);
  // A connection of the HTTP pools, counted in the tcp_ families.
  rt::Task<Result<std::unique_ptr<net::Stream>>> connect_counted();
  void on_closed(const std::optional<Error>& error) override;
  httpio::Client& http1();
  httpio::Client& http2();

  Worker& worker_;
  std::shared_ptr<const wire::Endpoint> info_;
  PeakEwma load_;
  uint32_t in_flight_ = 0;
  bool measured_ = false;
  std::shared_ptr<const Group> group_;
  std::unique_ptr<observe::HttpSeries> series_;
  std::unique_ptr<observe::TcpSeries> tcp_series_;
  std::unique_ptr<httpio::Client> http1_, http2_;
};

}  // namespace tulle::proxy::outbound
