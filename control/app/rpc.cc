#include "control/app/rpc.h"

#include "control/index/names.h"
#include "control/index/traits.h"
#include "control/policy/inbound.h"
#include "control/policy/outbound.h"
#include "libs/base/log.h"
#include "libs/observe/families.h"
#include "libs/wire/identity.h"
#include "libs/wire/tulle.h"

namespace tulle::control {
namespace {

using grpc::Outcome;
using grpc::Status;
using grpc::StatusCode;

constexpr observe::Family kRpcs =
    observe::text_counter("tulle_control_rpc_total", "Calls that have ended, by method and status.");
constexpr observe::Family kActive{
    "tulle_control_rpc_active", "Calls that are open, by method.", observe::Type::kGauge, observe::Format::kText, {}};

// A stream that follows topics.
class Feed final : public Watcher {
 public:
  Feed(WatchHub& hub, rt::Reactor& reactor, Publisher& publisher)
      : Watcher(hub), changed_(reactor), publisher_(publisher) {}
  ~Feed() {
    take();
    told();
  }

  void on_change() override {
    if (!behind_) publisher_.add_behind();
    dirty_ = behind_ = true;
    changed_.notify();
  }
  bool dirty() const { return dirty_; }
  // The answer that is made now takes in all changes until now; told() once it is sent.
  void take() { dirty_ = false; }
  void told() {
    if (dirty_ || !behind_) return;
    behind_ = false;
    publisher_.end_behind();
  }
  rt::Signal& changed() { return changed_; }

 private:
  rt::Signal changed_;
  Publisher& publisher_;
  bool dirty_ = false;
  bool behind_ = false;
};

std::unexpected<Status> refuse(const Error& e) { return std::unexpected(grpc::to_status(e)); }
// A message that cannot be read, whatever is wrong with it.
Status bad_request(const Error& e) { return {StatusCode::kInvalidArgument, e.reason}; }

template <class T>
Outcome<std::string> encoded(const Result<T>& value) {
  if (!value) return refuse(value.error());
  return wire::encode(*value);
}

// A topic for a Destination.Get: a Service, not an address.
Outcome<ServiceTarget> service_target(Bytes message, const MeshConfig& mesh) {
  auto request = wire::decode_get_destination(message);
  if (!request) return std::unexpected(bad_request(request.error()));
  auto target = parse_target(request->path, mesh.cluster_domain);
  if (!target) return refuse(target.error());
  if (auto* service = std::get_if<ServiceTarget>(&*target)) return std::move(*service);
  return std::unexpected(Status(StatusCode::kInvalidArgument, "IP queries not supported"));
}

std::string workload_namespace(std::string_view token) {
  auto parsed = parse_workload_token(token);
  return parsed && !parsed->ns.empty() ? parsed->ns : "default";
}

}  // namespace

void Rpc::add(grpc::Server& server, std::string_view path, Handler handler) {
  server.add(std::string(path), [this, path = std::string(path), handler](grpc::ServerCall& call) {
    return counted(path, handler, call);
  });
}

void Rpc::add_to(grpc::Server& server) {
  add(server, wire::kDestinationGet, &Rpc::get);
  add(server, wire::kDestinationGetProfile, &Rpc::get_profile);
  add(server, wire::kOutboundPoliciesGet, &Rpc::outbound_get);
  add(server, wire::kOutboundPoliciesWatch, &Rpc::outbound_watch);
  add(server, wire::kInboundPoliciesGetPort, &Rpc::inbound_get);
  add(server, wire::kInboundPoliciesWatchPort, &Rpc::inbound_watch);
  add(server, wire::kIdentityCertify, &Rpc::certify);
  add(server, wire::kNamesWatch, &Rpc::names);
  add(server, wire::kTrustBundlesWatch, &Rpc::trust_bundle);
  add(server, wire::kDigestsCheck, &Rpc::check_digests);
}

rt::Task<Status> Rpc::counted(std::string path, Handler handler, grpc::ServerCall& call) {
  struct Open {  // also when the client goes away and this ends in the middle
    observe::GaugeRef active;
    explicit Open(observe::GaugeRef a) : active(std::move(a)) { active->increment(); }
    ~Open() { active->decrement(); }
  } open(shard_.gauge(kActive, observe::Labels().add("method", path)));
  Status status = co_await (this->*handler)(call);
  shard_.counter(kRpcs, observe::Labels().add("method", path).add("status", grpc::status_name(status.code)))->add();
  if (!status.ok()) log_debug("call refused", {{"method", path}, {"status", status.to_string()}});
  co_return status;
}

rt::Task<Status> Rpc::watch(grpc::ServerCall& call, Answer answer) {
  co_await settling_.wait();
  Feed feed(plane_.hub(), reactor_, publisher_);
  for (;;) {
    TopicSet read;
    feed.take();
    auto messages = answer(read);
    feed.follow(std::move(read));
    if (!messages) co_return std::move(messages).error();
    if (*messages) {
      for (const std::string& message : **messages) {
        auto written = co_await call.write(message);
        if (!written) co_return std::move(written).error();
      }
    }
    messages->reset();
    feed.told();
    while (!feed.dirty()) co_await feed.changed().wait();
  }
}

Rpc::Answer Rpc::latest(std::move_only_function<Outcome<std::string>(const Snapshot&)> make) {
  return [this, make = std::move(make), last = Messages()](TopicSet& read) mutable -> Outcome<Messages> {
    auto message = make(plane_.index().snapshot(&read));
    if (!message) return std::unexpected(std::move(message).error());
    if (last && last->front() == *message) return Messages();
    last = std::make_shared<const std::vector<std::string>>(1, std::move(*message));
    return last;
  };
}

rt::Task<Status> Rpc::once(grpc::ServerCall& call,
                           std::move_only_function<Outcome<std::string>(const Snapshot&)> make) {
  co_await settling_.wait();
  auto message = make(plane_.index().snapshot());
  if (!message) co_return std::move(message).error();
  auto written = co_await call.write(*message);
  co_return written ? Status() : std::move(written).error();
}

// --- Destination ---

rt::Task<Status> Rpc::get(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto target = service_target(*bytes, plane_.mesh());
  if (!target) co_return std::move(target).error();
  Answer answer = [this, target = std::move(*target),
                   sent = EndpointCache::SetPtr()](TopicSet& read) mutable -> Outcome<Messages> {
    auto now = plane_.endpoints().get(plane_.index(), plane_.generation(), target, read);
    if (!now) return refuse(now.error());
    if (!sent && !(*now)->exists)
      return std::unexpected(Status(StatusCode::kNotFound, cat("no such service: ", target.service.to_string())));
    if (sent == *now) return Messages();
    Messages messages = plane_.endpoints().messages(target, sent, *now);
    sent = std::move(*now);
    return messages;
  };
  co_return co_await watch(call, std::move(answer));
}

rt::Task<Status> Rpc::get_profile(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto request = wire::decode_get_destination(*bytes);
  if (!request) co_return bad_request(request.error());
  auto target = parse_target(request->path, plane_.mesh().cluster_domain);
  if (!target) co_return grpc::to_status(target.error());
  co_return co_await watch(
      call, latest([target = std::move(*target)](const Snapshot& s) { return encoded(profile(s, target)); }));
}

// --- Policy ---

rt::Task<Status> Rpc::outbound_get(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto spec = wire::decode_traffic_spec(*bytes);
  if (!spec) co_return bad_request(spec.error());
  co_return co_await once(call,
                          [spec = std::move(*spec)](const Snapshot& s) { return encoded(outbound_policy(s, spec)); });
}

rt::Task<Status> Rpc::outbound_watch(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto spec = wire::decode_traffic_spec(*bytes);
  if (!spec) co_return bad_request(spec.error());
  co_return co_await watch(
      call, latest([spec = std::move(*spec)](const Snapshot& s) { return encoded(outbound_policy(s, spec)); }));
}

rt::Task<Status> Rpc::inbound_get(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto spec = wire::decode_port_spec(*bytes);
  if (!spec) co_return bad_request(spec.error());
  co_return co_await once(call,
                          [spec = std::move(*spec)](const Snapshot& s) { return encoded(inbound_policy(s, spec)); });
}

rt::Task<Status> Rpc::inbound_watch(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto spec = wire::decode_port_spec(*bytes);
  if (!spec) co_return bad_request(spec.error());
  co_return co_await watch(
      call, latest([spec = std::move(*spec)](const Snapshot& s) { return encoded(inbound_policy(s, spec)); }));
}

// --- Identity ---

rt::Task<Status> Rpc::certify(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto request = wire::decode_certify_request(*bytes);
  if (!request) co_return bad_request(request.error());
  auto response = control::certify(plane_.authorities(), plane_.mesh(), plane_.options().certify, *request,
                                   std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()));
  if (!response) {
    log_warn("no certificate", {{"identity", request->identity}, {"reason", response.error().to_string()}});
    co_return std::move(response).error();
  }
  log_info("certificate issued", {{"identity", request->identity}, {"until", format_rfc3339(response->valid_until)}});
  auto written = co_await call.write(wire::encode(*response));
  co_return written ? Status() : std::move(written).error();
}

// --- Our own ---

std::string Rpc::names_message(const Snapshot& snapshot, const std::string& ns) {
  // Read in any case: it notes what the answer depends on.
  (void)snapshot.all_services();
  NamesMemo& memo = names_[ns];
  if (memo.generation == plane_.generation() && !memo.message.empty()) return memo.message;
  wire::NameTable table = control::names(snapshot, ns);
  table.version = wire::message_digest(wire::encode(table));
  memo = {plane_.generation(), wire::encode(table)};
  return memo.message;
}

rt::Task<Status> Rpc::names(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto request = wire::decode_watch_names_request(*bytes);
  if (!request) co_return bad_request(request.error());
  std::string ns = workload_namespace(request->workload);
  if (names_.size() > 1000) names_.clear();
  co_return co_await watch(
      call, latest([this, ns](const Snapshot& s) -> Outcome<std::string> { return names_message(s, ns); }));
}

rt::Task<Status> Rpc::trust_bundle(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  if (auto request = wire::decode_watch_trust_bundle_request(*bytes); !request) co_return bad_request(request.error());
  co_return co_await watch(call, latest([this](const Snapshot&) -> Outcome<std::string> {
                             return wire::encode(wire::TrustBundle{plane_.authorities().roots.to_pem(), {}});
                           }));
}

namespace {

// The digest of what would be sent now; nothing: an error would.
std::optional<uint64_t> digest_now(const Snapshot& snapshot, const wire::CheckDigestsRequest& request,
                                   const wire::SetDigest& held) {
  auto digest = [](const auto& answer) -> std::optional<uint64_t> {
    if (!answer) return std::nullopt;
    return wire::message_digest(wire::encode(*answer));
  };
  using Kind = wire::SetDigest::Kind;
  switch (held.kind) {
    case Kind::kDestination:
    case Kind::kProfile: {
      auto target = parse_target(held.key, snapshot.mesh().cluster_domain);
      if (!target) return std::nullopt;
      if (held.kind == Kind::kProfile) return digest(profile(snapshot, *target));
      auto* service = std::get_if<ServiceTarget>(&*target);
      auto set = service ? endpoints(snapshot, *service) : fail(Code::kInvalid, "");
      if (!set) return std::nullopt;
      uint64_t sum = 0;
      for (const wire::Endpoint& e : set->endpoints) sum += wire::endpoint_digest(e);
      return sum;
    }
    case Kind::kOutboundPolicy: {
      auto addr = SocketAddr::parse(held.key);
      wire::TrafficSpec spec{request.workload, held.key};
      if (addr) spec.target = *addr;
      return digest(outbound_policy(snapshot, spec));
    }
    case Kind::kInboundPolicy: {
      auto port = parse_number<uint16_t>(held.key);
      return port ? digest(inbound_policy(snapshot, {request.workload, *port})) : std::nullopt;
    }
    case Kind::kUnknown: break;
  }
  return std::nullopt;
}

}  // namespace

rt::Task<Status> Rpc::check_digests(grpc::ServerCall& call) {
  auto bytes = co_await call.read_one();
  if (!bytes) co_return std::move(bytes).error();
  auto request = wire::decode_check_digests_request(*bytes);
  if (!request) co_return bad_request(request.error());
  co_await settling_.wait();
  wire::CheckDigestsResponse response;
  Snapshot snapshot = plane_.index().snapshot();
  for (uint32_t i = 0; i < request->held.size(); ++i)
    if (digest_now(snapshot, *request, request->held[i]) != request->held[i].digest) response.differ.push_back(i);
  auto written = co_await call.write(wire::encode(response));
  co_return written ? Status() : std::move(written).error();
}

}  // namespace tulle::control
