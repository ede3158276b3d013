#include "control/app/setup.h"

#include <fcntl.h>
#include <unistd.h>

#include "libs/base/file.h"
#include "libs/base/log.h"
#include "libs/observe/families.h"

namespace tulle::control {
namespace {

std::string addresses_path(const ControlOptions& o) { return cat(o.state_dir, "/service-addresses"); }
std::string ports_path(const ControlOptions& o) { return cat(o.state_dir, "/ports"); }
std::string mesh_path(const ControlOptions& o) { return cat(runtime_folder(o), "/mesh.json"); }

// Text of a file; "" where there is none.
Result<std::string> read_if_there(const std::string& path, size_t max) {
  auto text = read_file(path, max);
  if (!text && text.error().code == Code::kNotFound) return std::string();
  return text;
}

// Also where root runs it all: a proxy lives in its pod's user namespace, where nobody may bind low ports of the host.
uint16_t first_unprivileged_port() {
  auto text = read_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", 100);
  return text ? parse_number<uint16_t>(trim(*text)).value_or(1024) : 1024;
}

Result<MeshConfig> mesh_of(const ControlOptions& o, Cidr pods) {
  MeshConfig mesh = MeshConfig::local();
  mesh.cluster_domain = o.cluster_domain;
  mesh.trust_domain = o.trust_domain;
  mesh.control_namespace = o.control_namespace;
  mesh.default_inbound_policy = o.default_inbound_policy;
  if (!is_default_policy(o.default_inbound_policy))
    return fail(Code::kInvalid, cat("--default-inbound-policy: found ", quoted(o.default_inbound_policy),
                                    "; accepted: all-unauthenticated, all-authenticated, cluster-unauthenticated, "
                                    "cluster-authenticated, audit, deny"));
  auto identity = tls::dns_identity({"sa", "ns", o.control_namespace, o.trust_domain});
  if (!identity) return fail(std::move(identity).error().with("--trust-domain or --control-namespace"));
  auto ports = parse_port_set(o.opaque_ports);
  if (!ports) return fail(std::move(ports).error().with("--default-opaque-ports"));
  mesh.opaque_ports = std::move(*ports);
  mesh.networks = {pods, local_service_network()};
  mesh.client_networks = {pods};
  return mesh;
}

Result<std::unique_ptr<net::Listener>> bind_again(rt::Reactor& reactor, const std::string& flag, std::string_view name,
                                                  uint16_t last) {
  auto at = SocketAddr::parse(flag);
  if (!at) return fail(std::move(at).error().with(name));
  if (at->port == 0 && last != 0)
    if (auto again = net::Listener::bind(reactor, {at->ip, last})) return again;
  auto listener = net::Listener::bind(reactor, *at);
  if (!listener) return fail(std::move(listener).error().with(name));
  return listener;
}

}  // namespace

std::string runtime_folder(const ControlOptions& o) {
  size_t slash = o.socket.rfind('/');
  return slash == o.socket.npos ? "." : slash == 0 ? "/" : o.socket.substr(0, slash);
}

Result<std::unique_ptr<Plane>> make_plane(const ControlOptions& o, WallTime now) {
  TULLE_TRY_VOID(make_private_dir(o.state_dir));
  Plane::Options options;
  auto pods = Cidr::parse(o.pod_network);
  if (!pods) return fail(std::move(pods).error().with("--pod-network"));
  if (!pods->ip().is_v4() || pods->prefix() < 8 || pods->prefix() > 28)
    return fail(Code::kInvalid, cat("--pod-network: found ", quoted(o.pod_network),
                                    "; accepted: a network of IPv4 with a prefix of 8 to 28, such as 127.64.0.0/11"));
  options.pod_network = *pods;
  TULLE_TRY(options.mesh, mesh_of(o, *pods));
  auto lifetime = parse_duration(o.identity_lifetime);
  if (!lifetime || *lifetime < 10s)
    return fail(Code::kInvalid, "--identity-lifetime: accepted: a duration of 10s or more, such as 24h");
  auto skew = parse_duration(o.identity_skew);
  if (!skew) return fail(std::move(skew).error().with("--identity-skew"));
  options.certify = {*lifetime, *skew};
  options.workloads.first_unprivileged_port = first_unprivileged_port();
  options.rng = Rng::from_system();
  options.first_pod_address = options.rng.below(1u << 20);
  TULLE_TRY(options.saved_addresses, read_if_there(addresses_path(o), 64 << 20));
  TULLE_TRY(Authorities authorities, open_authorities(o.state_dir, o.trust_domain, now));
  auto plane = Plane::make(std::move(options), std::move(authorities));
  if (!plane) return fail(std::move(plane).error().with(addresses_path(o)));
  return plane;
}

Result<Listeners> open_listeners(rt::Reactor& reactor, const ControlOptions& o) {
  TULLE_TRY(std::string text, read_if_there(ports_path(o), 100));
  auto lines = split(text, '\n');
  auto last = [&](size_t i) { return lines.size() > i ? parse_number<uint16_t>(lines[i]).value_or(0) : uint16_t{0}; };
  Listeners out;
  TULLE_TRY(Fd socket, net::listen_unix(o.socket));
  TULLE_TRY(out.api, net::Listener::adopt(reactor, std::move(socket)));
  TULLE_TRY(out.grpc, bind_again(reactor, o.listen, "--listen", last(0)));
  TULLE_TRY(out.admin, bind_again(reactor, o.admin_listen, "--admin-listen", last(1)));
  TULLE_TRY_VOID(
      write_file_atomic(ports_path(o), cat(out.grpc->local().port, "\n", out.admin->local().port, "\n"), 0600));
  return out;
}

void save_addresses(const ControlOptions& o, Plane& plane) {
  if (!plane.addresses().take_dirty()) return;
  auto saved = write_file_atomic(addresses_path(o), plane.addresses().save(), 0600);
  if (saved) return;
  log_error("the addresses of services are not saved", {{"error", saved.error().reason}});
  plane.addresses().set_dirty();
}

Result<> write_mesh_file(const ControlOptions& o, Api& api) {
  return write_file_atomic(mesh_path(o), api.settings(), 0600);
}

void remove_mesh_file(const ControlOptions& o) {
  unlink(mesh_path(o).c_str());
  unlink(o.socket.c_str());
}

void log_problems(const Folder& folder, std::set<std::string>& known) {
  std::set<std::string> now;
  for (const Problem& p : folder.problems()) {
    std::string text = p.to_string();
    if (!known.contains(text)) p.is_error() ? log_error(text) : log_warn(text);
    now.insert(std::move(text));
  }
  known = std::move(now);
}

namespace {
constexpr observe::Family gauge(std::string_view name, std::string_view help) {
  return {name, help, observe::Type::kGauge, observe::Format::kText, {}};
}
constexpr observe::Family kWorkloads = gauge("tulle_control_workloads", "Workloads that are registered.");
constexpr observe::Family kServices = gauge("tulle_control_services", "Services, declared or implied.");
constexpr observe::Family kManifests =
    gauge("tulle_control_manifest_resources", "Resources of the manifests that are in force.");
constexpr observe::Family kProblems =
    gauge("tulle_control_manifest_problems", "Errors and warnings about the manifests.");
constexpr observe::Family kTopics = gauge("tulle_control_watched_topics", "Different things that streams wait for.");
constexpr observe::Family kIssuer = gauge("issuer_cert_ttl_seconds", "Seconds until the issuer's certificate ends.");
constexpr observe::Family kPublishes =
    observe::text_counter("tulle_control_publish_total", "How often changes were told to streams.");
}  // namespace

PlaneMetrics::PlaneMetrics(observe::Shard& shard, const Plane& plane)
    : plane_(plane),
      workloads_(shard.gauge(kWorkloads)),
      services_(shard.gauge(kServices)),
      manifests_(shard.gauge(kManifests)),
      problems_(shard.gauge(kProblems)),
      topics_(shard.gauge(kTopics)),
      issuer_ttl_(shard.gauge(kIssuer)),
      publishes_(shard.counter(kPublishes)) {}

void PlaneMetrics::refresh(uint64_t publishes) {
  workloads_->set(static_cast<double>(plane_.workloads().size()));
  services_->set(static_cast<double>(plane_.index().snapshot().all_services().size()));
  manifests_->set(static_cast<double>(plane_.folder().size()));
  problems_->set(static_cast<double>(plane_.folder().problems().size()));
  topics_->set(static_cast<double>(plane_.hub().topics()));
  auto left = plane_.authorities().issuer.not_after() -
              std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  issuer_ttl_->set(to_seconds(left));
  publishes_->set(publishes);
}

}  // namespace tulle::control
