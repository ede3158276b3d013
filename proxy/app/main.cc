// tulle-proxy. Reads as the list of what exists: configuration, the control thread's parts, the workers; then runs
// until it is told to stop.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "libs/base/buffered.h"
#include "libs/base/log.h"
#include "libs/net/netns.h"
#include "libs/net/resolver.h"
#include "libs/observe/process.h"
#include "proxy/admin/admin.h"
#include "proxy/app/heap.h"
#include "proxy/app/memory.h"
#include "proxy/app/worker_thread.h"
#include "proxy/config/config.h"
#include "proxy/discovery/certify.h"
#include "proxy/discovery/control_client.h"
#include "proxy/discovery/pod_dns.h"
#include "proxy/discovery/streams.h"

extern char** environ;

namespace tulle::proxy {
namespace {

constexpr int kExitConfig = 64, kExitFailed = 1;
constexpr observe::Family kBuildInfo = observe::om_gauge("proxy_build_info", "Proxy build info");
constexpr observe::Family kBuffered = observe::om_gauge(
    "tulle_buffered_bytes", "Memory of the buffers in which bytes wait to be read, sent or understood");
constexpr observe::Family kMemoryLimit =
    observe::om_gauge("tulle_memory_limit_bytes", "Memory that the process may use");
constexpr observe::Family kLoopStalls = observe::om_counter(
    "tulle_loop_stalls_total", "Seconds in which one turn held a loop for more than 10 ms, by thread");

int failed(std::string_view what, const Error& e) {
  log_error(what, {{"error", e.reason}});
  return kExitFailed;
}

// Signals as events. SIGTERM and SIGINT: the first starts the drain, the second ends at once. SIGUSR1, from `tulle
// run`: what comes in is drained.
class Signals final : private rt::FdHandler {
 public:
  Signals(rt::Reactor& reactor, std::function<void(int times)> on_signal, std::function<void()> on_drain_inbound)
      : reactor_(reactor), on_signal_(std::move(on_signal)), on_drain_inbound_(std::move(on_drain_inbound)) {
    sigset_t set = signals();
    fd_ = Fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    TULLE_CHECK(fd_ && reactor_.watch(fd_.get(), *this));
  }
  ~Signals() { reactor_.forget(fd_.get(), *this); }
  // Before any thread starts: signals are taken by this object alone.
  static void block() {
    sigset_t set = signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }

 private:
  static sigset_t signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, number);
    return set;
  }
  void on_ready(uint32_t) override {
    signalfd_siginfo info;
    while (read(fd_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGUSR1) on_drain_inbound_();
      else on_signal_(++times_);
    }
  }
  rt::Reactor& reactor_;
  std::function<void(int)> on_signal_;
  std::function<void()> on_drain_inbound_;
  Fd fd_;
  int times_ = 0;
};

std::vector<std::pair<std::string, std::string>> environment() {
  std::vector<std::pair<std::string, std::string>> out;
  for (char** e = environ; *e; ++e) {
    std::string_view s(*e);
    size_t eq = s.find('=');
    if (eq != s.npos) out.emplace_back(s.substr(0, eq), s.substr(eq + 1));
  }
  return out;
}

// What held a loop for over 10 ms, once a second: work that does not belong there, or a machine that has no CPU to
// give. And what a burst has left of the heap, and TLS sessions that had to go.
rt::Task<void> watch_loops(rt::Reactor& control, std::vector<std::unique_ptr<WorkerThread>>& workers,
                           const Certifier& certifier, observe::Shard& shard) {
  auto control_stalls = shard.counter(kLoopStalls, observe::Labels().add("thread", "control"));
  auto worker_stalls = shard.counter(kLoopStalls, observe::Labels().add("thread", "worker"));
  auto check = [](std::string_view thread, Duration longest, observe::CounterRef& stalls) {
    if (longest <= 10ms) return;
    stalls->add();
    log_debug("loop held", {{"thread", thread}, {"for_ms", longest / 1ms}});
  };
  observe::GaugeRef buffered = shard.gauge(kBuffered, {});
  HeapKeeper heap;
  observe::CounterRef evicted_sessions = evictions(shard, "tls sessions");
  std::shared_ptr<const tls::Context> context;
  uint64_t evicted = 0;  // of this context
  for (;;) {
    co_await rt::sleep_for(control, 1s);
    heap.look();
    buffered->set(static_cast<double>(buffered_bytes()));
    if (context != certifier.context()) context = certifier.context(), evicted = 0;
    uint64_t evictions = context->session_stats().evictions;
    evicted_sessions->add(evictions - std::exchange(evicted, evictions));
    check("control", control.take_longest_turn(), control_stalls);
    for (auto& w : workers) check("worker", w->take_longest_turn(), worker_stalls);
  }
}

AdminOptions admin_options(const Config& config) {
  AdminOptions o;
  o.listen = config.admin_listen;
  o.environment = environment();
  o.shutdown_enabled = config.shutdown_endpoint;
  o.log_enabled = config.log_filter != "off";
  if (config.pod) o.pod_ip = config.pod->ip;
  return o;
}

// May a client ask the admin server? The port has a policy like any other, and like any declared port it is closed to
// all but the workload itself until the control plane has said who may.
rt::Task<std::optional<int>> authorize_admin(rt::Reactor& control, const Config& config, PortHub& ports,
                                             AdminClient from) {
  uint16_t port = config.admin_listen.port;
  bool known = co_await ports.ready(port, control.now() + config.no_discovery_timeout);
  auto info = ports.value(port);
  ServerPolicyPtr policy = info ? info->policy : nullptr;
  if (!policy) {
    auto name = known ? policy_name(config.default_policy) : policy_name(DefaultPolicy::kDeny);
    auto server = default_server(name, config.cluster_networks, config.inbound.detect_timeout, false);
    policy = compile_server(*server, config.pod ? std::optional(config.pod->ip) : std::nullopt);
  }
  Client client;
  client.ip = from.peer.ip;
  client.tls = from.tls ? Client::Tls::kMesh : Client::Tls::kNone;
  if (from.identity) client.identity = from.identity->name();
  co_return authorize({}, policy->authorizations, client) ? std::nullopt : std::optional(403);
}

std::string file_text(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

int run(const Config& config) {
  // The pod's namespace first: it must be entered before other threads start.
  std::unique_ptr<net::PodNetns> pod;
  if (config.pod && config.pod->netns_fd >= 0) {
    auto entered = net::PodNetns::enter(config.pod->netns_fd);
    if (!entered) return failed("cannot enter the pod's network namespace", entered.error());
    pod = std::move(*entered);
  }

  rt::Reactor control;
  observe::Registry registry(observe::MetricsLimits{.retain_idle = config.metrics_retain_idle});
  observe::Shard& shard = registry.add_shard();
  observe::ProcessMetrics process(shard, std::chrono::system_clock::now());
  shard
      .gauge(kBuildInfo, observe::Labels()
                             .add("date", "")
                             .add("git_sha", "")
                             .add("profile", "release")
                             .add("vendor", "tulle")
                             .add("version", TULLE_VERSION))
      ->set(1);

  // The control plane's services.
  auto resolver = net::Resolver::make(control);
  if (!resolver) return failed("cannot start the resolver", resolver.error());
  std::unique_ptr<Certifier> certifier;
  auto context = [&] { return certifier->context(); };
  auto client_of = [&](std::string_view service, const ControlAddr& addr) {
    ControlClientOptions o = control_client_options(config, addr);
    o.service = service;
    o.metrics = &shard;
    return std::make_unique<ControlClient>(control, **resolver, addr, std::move(o), context);
  };
  auto identity_svc = client_of("identity", config.identity_svc);
  auto destination_svc = client_of("destination", config.destination_svc);
  auto policy_svc = client_of("policy", config.policy_svc);

  auto limits_of = [&](const ControlAddr& addr) { return addr.loopback() ? StreamLimits() : config.stream_limits; };
  Subscriptions subscriptions(control, shard);
  StreamsConfig streams{
      .destination = {destination_svc->http(), destination_svc->authority(), destination_svc->series(),
                      limits_of(config.destination_svc)},
      .policy = {policy_svc->http(), policy_svc->authority(), policy_svc->series(), limits_of(config.policy_svc)},
      .subscriptions = subscriptions,
      .context_token = config.destination_context,
      .workload = config.workload,
      .profile_networks = config.profile_networks,
      .backoff = control_client_options(config, config.destination_svc).backoff,
      .pod_ip = config.pod ? std::optional(config.pod->ip) : std::nullopt,
  };
  TargetHub targets(control, target_source(control, streams, shard));
  EndpointHub endpoints(control, endpoint_source(control, streams, shard));
  PortHub ports(control, port_source(control, streams, shard));
  DigestOptions digests{
      .workload = config.workload, .context_token = config.destination_context, .interval = config.digest_interval};
  digests.settle = std::min<Duration>(digests.settle, digests.interval);
  rt::Running checking(control, subscriptions.check_forever(streams.policy, std::move(digests)));

  // Admin first, for its address is the pod's lock.
  bool stopping = false;
  std::function<void()> stop;
  auto options = admin_options(config);
  options.before_metrics = [&] { process.refresh(std::chrono::system_clock::now()); };
  options.authorize = [&](const AdminClient& c) { return authorize_admin(control, config, ports, c); };
  options.on_shutdown = [&] {
    stop();
    return true;
  };
  auto admin = Admin::start(control, std::move(options), registry);
  if (!admin) return failed("cannot start the admin server", admin.error());

  std::vector<std::unique_ptr<WorkerThread>> workers;
  for (size_t n = config.workers(std::max(1u, std::thread::hardware_concurrency())); n > 0; --n) {
    workers.push_back(std::make_unique<WorkerThread>(config, registry, pod.get(), targets, endpoints, ports));
    if (auto bound = workers.back()->bind(); !bound) return failed("cannot listen", bound.error());
  }

  std::unique_ptr<PodDns> dns;
  if (pod) {
    auto sockets = pod->dns_sockets();
    if (!sockets) return failed("cannot open the pod's DNS sockets", sockets.error());
    PodDnsOptions dns_options;
    dns_options.upstreams = nameservers(file_text(config.resolv_conf));
    auto made = PodDns::make(control, std::move(sockets->udp), std::move(sockets->tcp), std::move(dns_options), shard);
    if (!made) return failed("cannot serve the pod's DNS", made.error());
    dns = std::move(*made);
    dns->watch(policy_svc->http(), policy_svc->authority(), config.workload, streams.backoff);
  }

  CertifierOptions certify{.config = &config.identity,
                           .workload = config.workload,
                           .authority = identity_svc->authority(),
                           .series = identity_svc->series(),
                           .backoff = streams.backoff};
  auto made = Certifier::make(control, certify, shard, [&](std::shared_ptr<const tls::Context> ctx) {
    for (auto& w : workers) w->set_identity(ctx);
    (*admin)->set_context(ctx);
    (*admin)->set_ready();
  });
  if (!made) return failed("cannot prepare the identity", made.error());
  certifier = std::move(*made);
  for (auto& w : workers) w->start();
  rt::Running loops(control, watch_loops(control, workers, *certifier, shard));
  MemoryLimit limit =
      config.memory_limit ? MemoryLimit{config.memory_limit, "TULLE_PROXY_MEMORY_LIMIT"} : memory_limit();
  observe::GaugeRef limit_gauge = shard.gauge(kMemoryLimit, {});
  limit_gauge->set(static_cast<double>(limit.bytes));
  MemoryGuard memory(control, limit.bytes, workers);
  rt::Running guarding(control, memory.run());
  certifier->start(identity_svc->http());

  // Stopping: drain, at most for the grace period.
  size_t draining = 0;
  std::optional<rt::Running> grace;
  struct Grace {
    static rt::Task<void> run_out(rt::Reactor& r, Duration d) {
      co_await rt::sleep_for(r, d);
      log_warn("grace period over: ending what is still open");
      r.stop();
    }
  };
  stop = [&] {
    if (std::exchange(stopping, true)) return;
    log_info("draining");
    draining = workers.size();
    for (auto& w : workers)
      w->drain([&] {
        control.post([&] {
          if (--draining == 0) control.stop();
        });
      });
    grace.emplace(control, Grace::run_out(control, config.shutdown_grace));
  };
  Fd drained_fd(config.pod ? config.pod->drained_fd : -1);
  size_t draining_inbound = workers.size();
  auto drain_inbound = [&] {
    for (auto& w : workers)
      w->drain_inbound([&] {
        control.post([&] {
          if (--draining_inbound == 0) drained_fd.reset();
        });
      });
  };
  Signals signals(
      control,
      [&](int times) {
        if (times == 1) stop();
        else control.stop();
      },
      drain_inbound);
  log_info("started", {{"identity", config.identity.name.name()},
                       {"admin", (*admin)->local().to_string()},
                       {"memory_limit", cat(limit.bytes, " of ", limit.from)},
                       {"workers", workers.size()}});
  control.run();
  for (auto& w : workers) w->join();
  workers.clear();
  grace.reset();
  certifier.reset();  // before the clients that it uses
  log_info("stopped");
  return 0;
}

constexpr const char* kHelp =
    "tulle-proxy: the proxy beside each workload of a mesh; `tulle run` starts it.\n"
    "It takes its settings from the environment (LINKERD2_PROXY_*, TULLE_PROXY_*; docs/configuration.md), and of "
    "words\n"
    "only these:\n"
    "  -h, --help   this\n"
    "  --version    which version this is\n";

// The exit code where the words of the command line are all that was asked for.
std::optional<int> answer_words(int argc, char** argv) {
  if (argc < 2) return std::nullopt;
  std::string_view word = argv[1];
  bool help = word == "--help" || word == "-h";
  if (argc > 2 || (!help && word != "--version")) {
    std::string_view extra = argc > 2 ? argv[2] : argv[1];
    std::fputs(cat("tulle-proxy: found ", quoted(extra), "; accepted: --help or --version\n").c_str(), stderr);
    return kExitConfig;
  }
  std::fputs(help ? kHelp : "tulle-proxy " TULLE_VERSION "\n", stdout);
  return std::fflush(stdout) == 0 ? 0 : kExitFailed;
}

}  // namespace
}  // namespace tulle::proxy

int main(int argc, char** argv) {
  using namespace tulle;
  if (auto code = proxy::answer_words(argc, argv)) return *code;
  auto config = proxy::parse_config([](std::string_view name) -> std::optional<std::string> {
    const char* value = getenv(std::string(name).c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  });
  if (!config) {
    std::fprintf(stderr, "Invalid configuration:\n%s\n", config.error().reason.c_str());
    return proxy::kExitConfig;
  }
  if (auto r = log_init(config->log_filter, config->log_format); !r) {
    std::fprintf(stderr, "Invalid configuration:\nLINKERD2_PROXY_LOG: %s\n", r.error().reason.c_str());
    return proxy::kExitConfig;
  }
  for (const auto& w : config->warnings) log_warn(w);
  std::vector<std::string> names;
  for (char** v = environ; *v; ++v) names.emplace_back(*v, std::strcspn(*v, "="));
  for (const auto& name : proxy::unknown_variables(names))
    log_warn("no setting has this name, which begins as ours do: is it misspelt?", {{"name", name}});
  proxy::Signals::block();
  return proxy::run(*config);
}
