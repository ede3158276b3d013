// Constructs everything there is in a control plane, runs it, and ends it in order.
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <set>

#include "control/app/options.h"
#include "control/app/publisher.h"
#include "control/app/rpc.h"
#include "control/app/serve.h"
#include "control/app/setup.h"
#include "control/source/folder_watch.h"
#include "libs/base/log.h"
#include "libs/observe/process.h"
#include "libs/rt/scope.h"

namespace tulle::control {
namespace {

constexpr Duration kTidyEvery = 1s;
constexpr Duration kRenewEvery = 1h;
constexpr Duration kSettleAtMost = 1500ms;
constexpr Duration kDrainAtMost = 200ms;

// Stops the reactor at SIGTERM or SIGINT.
class Signals final : private rt::FdHandler {
 public:
  explicit Signals(rt::Reactor& reactor) : reactor_(reactor), ended_(reactor) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = Fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    (void)reactor_.watch(fd_.get(), *this);
  }
  ~Signals() { reactor_.forget(fd_.get(), *this); }
  rt::Task<void> wait() {
    while (!came_) co_await ended_.wait();
  }

 private:
  void on_ready(uint32_t) override {
    signalfd_siginfo info;
    while (read(fd_.get(), &info, sizeof info) == sizeof info) came_ = true;
    if (came_) ended_.notify();
  }
  rt::Reactor& reactor_;
  rt::Signal ended_;
  Fd fd_;
  bool came_ = false;
};

rt::Task<void> settle(rt::Reactor& reactor, const Api& api, std::vector<Ref> expected, Plane& plane,
                      Settling& settling) {
  TimePoint end = reactor.now() + kSettleAtMost;
  size_t missing = api.missing(expected);
  while ((missing = api.missing(expected)) > 0 && reactor.now() < end) co_await rt::sleep_for(reactor, 10ms);
  if (!expected.empty()) log_info("workloads of the last run", {{"expected", expected.size()}, {"missing", missing}});
  plane.addresses().release_unclaimed(time_of(reactor).unix_seconds());
  settling.finish();
}

rt::Task<void> tidy(rt::Reactor& reactor, Api& api, Plane& plane, const ControlOptions& options,
                    observe::Shard& shard) {
  TimePoint renew = reactor.now() + kRenewEvery;
  for (;;) {
    co_await rt::sleep_for(reactor, kTidyEvery);
    api.tidy(time_of(reactor));
    shard.sweep(reactor.now());
    if (reactor.now() < renew) continue;
    renew = reactor.now() + kRenewEvery;
    auto renewed = renew_issuer(plane.authorities(), options.state_dir, options.trust_domain, time_of(reactor).wall);
    if (!renewed) log_error("the issuer could not be renewed", {{"error", renewed.error().reason}});
    else if (*renewed) log_info("a new issuer signs from now on");
  }
}

// Ends in order: no new connections, those that are idle close, the rest is dropped; then the loop stops.
rt::Task<void> until_told_to_end(rt::Reactor& reactor, Signals& signals, rt::Scope& accepting, ServeParts& parts) {
  co_await signals.wait();
  log_info("ending");
  parts.closing = true;
  accepting.cancel();
  parts.drain.start();
  TimePoint end = reactor.now() + kDrainAtMost;
  while (parts.connections.size() > 0 && reactor.now() < end) co_await rt::sleep_for(reactor, 5ms);
  reactor.stop();
}

Result<> run(const ControlOptions& options) {
  rt::Reactor reactor;
  Signals signals(reactor);
  TULLE_TRY(std::unique_ptr<Plane> plane, make_plane(options, time_of(reactor).wall));
  WorkloadFiles files(runtime_folder(options) + "/workloads");
  TULLE_TRY(Listeners listeners, open_listeners(reactor, options));

  observe::Registry registry;
  observe::Shard& shard = registry.add_shard();
  observe::ProcessMetrics process(shard, time_of(reactor).wall);
  PlaneMetrics metrics(shard, *plane);

  Publisher publisher(reactor, *plane, [&] { save_addresses(options, *plane); });
  Settling settling(reactor);
  Api api({options.mesh, listeners.grpc->local(), listeners.admin->local(), kVersion, options.manifests, options.log},
          *plane, files);
  Rpc rpc(reactor, *plane, publisher, settling, shard);
  grpc::Server grpc;
  rpc.add_to(grpc);

  rt::Scope connections(reactor);
  ServeParts parts(reactor, connections, api, publisher, settling, grpc, [&] {
    process.refresh(time_of(reactor).wall);
    metrics.refresh(publisher.count());
    return registry.render();
  });
  std::set<std::string> problems;
  std::unique_ptr<FolderWatch> folder;
  if (!options.manifests.empty()) {
    auto opened = FolderWatch::open(reactor, options.manifests, plane->folder(), [&](std::vector<Event> events) {
      plane->apply(events, time_of(reactor).unix_seconds());
      log_problems(plane->folder(), problems);
    });
    if (!opened) return fail(std::move(opened).error().with("--manifests"));
    folder = std::move(*opened);
  }
  TULLE_TRY_VOID(write_mesh_file(options, api));

  rt::Scope accepting(reactor);
  accepting.spawn(serve_grpc(parts, *listeners.grpc));
  accepting.spawn(serve_admin(parts, *listeners.admin));
  accepting.spawn(serve_api(parts, *listeners.api));
  rt::Scope background(reactor);
  background.spawn(settle(reactor, api, files.survivors(), *plane, settling));
  background.spawn(tidy(reactor, api, *plane, options, shard));
  rt::Running ending(reactor, until_told_to_end(reactor, signals, accepting, parts));
  log_info("control plane runs", {{"mesh", options.mesh},
                                  {"grpc", listeners.grpc->local().to_string()},
                                  {"admin", listeners.admin->local().to_string()},
                                  {"socket", options.socket}});
  reactor.run();
  parts.closing = true;
  connections.cancel();  // they refer to the parts
  save_addresses(options, *plane);
  remove_mesh_file(options);
  return {};
}

}  // namespace

// Each stream of a proxy is a descriptor: as many as the system lets us have.
static void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int run_control(const ControlOptions& options) {
  raise_descriptor_limit();
  auto format = options.log_format == "json" ? LogFormat::kJson : LogFormat::kPlain;
  signal(SIGPIPE, SIG_IGN);
  auto result = log_init(options.log, format);
  if (result) result = run(options);
  if (result) return 0;
  std::fprintf(stderr, "tulle-control: %s\n", result.error().reason.c_str());
  return 1;
}

}  // namespace tulle::control
