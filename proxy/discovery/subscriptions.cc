#include "proxy/discovery/subscriptions.h"

#include <algorithm>

#include "libs/base/log.h"
#include "libs/grpc/client.h"
#include "libs/observe/families.h"
#include "proxy/discovery/control_client.h"

namespace tulle::proxy {
namespace {

constexpr observe::Family kChecks =
    observe::om_counter("tulle_discovery_checks_total",
                        "Comparisons of what discovery has told with what the control plane would say, by result");
constexpr observe::Family kResyncs = observe::om_counter(
    "tulle_discovery_resyncs_total", "Streams of the control plane that were asked for afresh, by why");
constexpr Duration kCheckTimeout = 10s;
constexpr size_t kBatch = 1000;  // subscriptions in one request
constexpr int kBlindIntervals = 10;

}  // namespace

std::vector<Subscriptions::Held> Subscriptions::held() {
  std::vector<Held> out;
  open_.for_each([&](Subscription& s) {
    auto d = s.digest();
    if (!d || d->digest == s.vain_) return;
    s.vain_.reset();
    out.push_back({s.id_, std::move(*d)});
  });
  return out;
}

rt::Task<grpc::Outcome<std::vector<Subscriptions::Held>>> Subscriptions::differing(const ControlService& service,
                                                                                   const DigestOptions& options,
                                                                                   const std::vector<Held>& held) {
  std::vector<Held> out;
  for (size_t from = 0; from < held.size(); from += kBatch) {
    size_t n = std::min(kBatch, held.size() - from);
    wire::CheckDigestsRequest request{options.workload, options.context_token, {}};
    for (size_t i = 0; i < n; ++i) request.held.push_back(held[from + i].digest);
    ControlCall counted(service.series, reactor_);
    auto bytes = co_await grpc::unary(reactor_, service.client, service.authority, std::string(wire::kDigestsCheck),
                                      encode(request), reactor_.now() + kCheckTimeout);
    counted.end(bytes ? grpc::Status() : bytes.error());
    if (!bytes) co_return std::unexpected(std::move(bytes).error());
    auto answer = wire::decode_check_digests_response(*bytes);
    if (!answer) co_return std::unexpected(grpc::Status(grpc::StatusCode::kInternal, std::move(answer).error().reason));
    for (uint32_t i : answer->differ)
      if (i < n) out.push_back(held[from + i]);
  }
  co_return out;
}

rt::Task<void> Subscriptions::check_forever(ControlService service, DigestOptions options) {
  if (options.interval <= 0s) co_return;
  for (int blind = 0;;) {
    double spread = 0.75 + 0.5 * reactor_.rng().unit();
    co_await rt::sleep_for(reactor_, std::chrono::duration_cast<Duration>(options.interval * spread));
    auto all = held();
    if (all.empty()) continue;
    auto differ = co_await differing(service, options, all);
    if (differ && !differ->empty()) {
      co_await rt::sleep_for(reactor_, options.settle);
      // Those that have been told something meanwhile are on the way.
      auto now = held();
      std::erase_if(*differ, [&](const Held& h) {
        return std::ranges::none_of(now, [&](const Held& n) { return n.id == h.id && n.digest == h.digest; });
      });
      auto suspects = std::move(*differ);
      differ = co_await differing(service, options, suspects);
    }
    if (differ) {
      blind = 0;
      count(differ->empty() ? "same" : "different");
      resync(*differ);
    } else if (differ.error().code == grpc::StatusCode::kUnimplemented) {
      count("unsupported");
      if (++blind % kBlindIntervals == 0) open_.for_each([&](Subscription& s) { resync(s, "periodic"); });
    } else {
      count("unanswered");
      log_debug("digests not compared", {{"status", differ.error().to_string()}});
    }
  }
}

void Subscriptions::resync(const std::vector<Held>& lost) {
  open_.for_each([&](Subscription& s) {
    auto h = std::ranges::find(lost, s.id_, &Held::id);
    if (h == lost.end() || s.digest() != h->digest) return;
    // If it leaves us with the same, the two ends count differently: it would not help a second time either.
    s.vain_ = h->digest.digest;
    log_warn("discovery had lost an update: asking for all of it again", {{"rpc", s.rpc_}, {"key", h->digest.key}});
    resync(s, "digest");
  });
}

void Subscriptions::resync(Subscription& s, std::string_view why) {
  shard_.counter(kResyncs, observe::Labels().add("rpc", s.rpc_).add("reason", why))->add();
  s.ask_afresh();
}

void Subscriptions::count(std::string_view result) {
  shard_.counter(kChecks, observe::Labels().add("result", result))->add();
}

}  // namespace tulle::proxy
