#include "control/api/api.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "control/api/json.h"
#include "control/api/query.h"
#include "control/identity/token.h"
#include "control/index/names.h"
#include "control/policy/inbound.h"
#include "control/policy/outbound.h"
#include "control/source/references.h"
#include "libs/base/log.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxEnded = 1000;
constexpr Duration kKeepEnded = 1h;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }
ApiAnswer answer(const Json& json, int status = 200) { return {status, dump(json), false}; }
ApiAnswer refuse(int status, std::string_view why) { return answer({{"error", why}}, status); }
ApiAnswer refuse(const Error& e) {
  switch (e.code) {
    case Code::kNotFound: return refuse(404, e.reason);
    case Code::kDenied: return refuse(409, e.reason);
    case Code::kInvalid:
    case Code::kProtocol: return refuse(400, e.reason);
    default: return refuse(503, e.reason);
  }
}

struct KindPath {
  std::string_view path;
  Kind kind;
};
constexpr KindPath kKinds[] = {{"namespaces", Kind::kNamespace},         {"services", Kind::kService},
                               {"endpointslices", Kind::kEndpointSlice}, {"servers", Kind::kServer},
                               {"httproutes", Kind::kHttpRoute},         {"pods", Kind::kPod}};

// "/v1/workloads/ID/VERB" or "/v1/workloads/ID".
struct WorkloadPath {
  std::string_view id, verb;
};
std::optional<WorkloadPath> workload_path(std::string_view path) {
  auto parts = split(path, '/');
  if (parts.size() < 4 || parts.size() > 5 || parts[1] != "v1" || parts[2] != "workloads" || parts[3].empty())
    return std::nullopt;
  return WorkloadPath{parts[3], parts.size() == 5 ? parts[4] : ""};
}

constexpr std::string_view kResources = "/v1/resources/";
constexpr std::string_view kQuestions[] = {"/v1/mesh",   "/v1/problems", "/v1/ended-workloads",   "/v1/endpoints",
                                           "/v1/policy", "/v1/names",    "/v1/prometheus-targets"};

// The one method that a path takes; "" where there is no such path.
std::string_view method_of(std::string_view path) {
  if (path == "/v1/workloads") return "POST";
  if (auto workload = workload_path(path))
    return workload->verb == "ready"  ? "POST"
           : workload->verb.empty()   ? "DELETE"
           : workload->verb == "hold" ? "GET"
                                      : "";
  if (path.starts_with(kResources) || std::ranges::find(kQuestions, path) != std::end(kQuestions)) return "GET";
  return "";
}

ApiAnswer wrong_method(std::string_view accepted) {
  ApiAnswer out = refuse(405, cat("accepted: ", accepted));
  out.allow = accepted;
  return out;
}

}  // namespace

std::optional<std::string> Api::hold_id(const ApiRequest& request) {
  auto path = workload_path(split_query(request.path).path);
  if (request.method != "GET" || !path || path->verb != "hold") return std::nullopt;
  return std::string(path->id);
}

ApiAnswer Api::handle(const ApiRequest& request, const ApiTime& time) {
  auto [path, query] = split_query(request.path);
  std::string_view method = method_of(path);
  if (method.empty()) return refuse(404, cat("no ", tulle::quoted(path)));
  if (request.method != method) return wrong_method(method);
  if (method == "GET") return get(path, query);
  if (path == "/v1/workloads") return register_workload(request.body, time);
  auto workload = workload_path(path);
  return method == "POST" ? set_ready(workload->id, request.body, time) : remove_workload(workload->id, time);
}

ApiAnswer Api::handle_public(const ApiRequest& request) {
  std::string_view path = split_query(request.path).path;
  if (path != "/v1/mesh" && path != "/v1/prometheus-targets") return refuse(404, cat("no ", tulle::quoted(path)));
  if (request.method != "GET") return wrong_method("GET");
  return path == "/v1/mesh" ? mesh() : prometheus_targets();
}

ApiAnswer Api::get(std::string_view path, std::string_view query) {
  if (path == "/v1/mesh") return mesh();
  if (path == "/v1/problems") return problems();
  if (path == "/v1/ended-workloads") return ended_workloads();
  if (path == "/v1/endpoints") return endpoints(query);
  if (path == "/v1/policy") return policy(query);
  if (path == "/v1/names") return names(query);
  if (path == "/v1/prometheus-targets") return prometheus_targets();
  return path.starts_with(kResources) ? resources(path.substr(kResources.size()), query)
                                      : refuse(404, cat("no ", tulle::quoted(path)));
}

// --- Workloads ---

std::string Api::new_token(const Pod& pod, WallTime now) const {
  return issue_token(plane_.authorities().token_key, {pod.meta.ns, pod.service_account, pod.meta.name},
                     plane_.options().token_lifetime, now);
}

// What the one who runs it should know: it is of a Service that does not select it, or lacks a port of its.
std::vector<std::string> Api::warnings(const Pod& pod) const {
  std::vector<std::string> out;
  if (pod.service.empty()) return out;
  const ServiceEntry* entry = plane_.index().snapshot().service({pod.meta.ns, pod.service});
  if (!entry) return out;
  bool selected = std::any_of(entry->pods.begin(), entry->pods.end(),
                              [&](const PodPtr& p) { return p->meta.name == pod.meta.name; });
  if (!selected) {
    std::string wanted;
    for (const auto& [key, value] : entry->spec->selector) append(wanted, wanted.empty() ? "" : ",", key, "=", value);
    out.push_back(cat("Service ", pod.service, " (", entry->spec->meta.origin, ") selects ", wanted,
                      ", which this workload has not: no request will reach it"));
  }
  for (const ServicePort& port : entry->spec->ports)
    if (!pod.find_port(port.target))
      out.push_back(cat("Service ", pod.service, " sends what comes to port ", port.port, " to port ",
                        to_string(port.target), ", which this workload has not"));
  return out;
}

ApiAnswer Api::register_workload(std::string_view body, const ApiTime& time) {
  auto request = parse_register_request(body);
  if (!request) return refuse(request.error());
  auto& workloads = plane_.workloads();
  request->value.labels.emplace("linkerd.io/control-plane-ns", plane_.mesh().control_namespace);
  request->value.labels.emplace("linkerd.io/workload-ns", request->value.ns);
  if (!request->value.service.empty()) request->value.annotations.emplace("tulle.dev/service", request->value.service);
  std::vector<Event> events;
  auto added = workloads.add(std::move(request->value), time.now, events);
  // Addresses that somebody else on this machine has; the pool goes round, so each is met once.
  for (size_t tries = 0; added && tries < request->refused.size(); ++tries) {
    IpAddr now = (*added)->pod->address;
    if (std::find(request->refused.begin(), request->refused.end(), now) == request->refused.end()) break;
    added = workloads.move((*added)->id, events);
  }
  plane_.apply(events, time.unix_seconds());
  if (!added) return refuse(added.error());

  const Workload& w = **added;
  const Pod& pod = *w.pod;
  std::string token = new_token(pod, time.wall);
  if (auto written = files_.write(pod.meta.ref(), w.pid, token); !written) {
    Error e = written.error();
    end(w.id, time);
    return refuse(e);
  }
  Json ports = Json::array();
  for (const PodPort& p : pod.ports) ports.push_back({{"name", p.name}, {"port", p.port}, {"served", p.served}});
  std::string token_path = files_.token_path(pod.meta.ref());
  Json out = {{"id", w.id},
              {"name", pod.meta.name},
              {"namespace", pod.meta.ns},
              {"address", pod.address.to_string()},
              {"identity", plane_.mesh().identity(pod.meta.ns, pod.service_account)},
              {"token", token},
              {"token_path", token_path},
              {"trust_anchors_pem", plane_.authorities().roots.to_pem()},
              {"ports", std::move(ports)},
              {"env", proxy_environment(plane_, pod, options_.grpc, token_path)},
              {"warnings", warnings(pod)}};
  log_info("workload registered",
           {{"workload", pod.meta.ref().to_string()}, {"service", pod.service}, {"address", pod.address.to_string()}});
  return answer(out);
}

ApiAnswer Api::set_ready(std::string_view id, std::string_view body, const ApiTime& time) {
  auto ready = parse_ready(body);
  if (!ready) return refuse(ready.error());
  std::vector<Event> events;
  if (auto set = plane_.workloads().set_ready(id, *ready, events); !set) return refuse(set.error());
  plane_.apply(events, time.unix_seconds());
  const Workload* w = plane_.workloads().find(id);
  if (!events.empty())
    log_info(*ready ? "workload ready" : "workload withdrawn", {{"workload", w->pod->meta.ref().to_string()}});
  ApiAnswer out = answer({{"ready", *ready}});
  out.when_published = true;
  return out;
}

ApiAnswer Api::hold(std::string_view id) {
  auto held = plane_.workloads().hold(id);
  if (!held) return refuse(held.error());
  return answer({{"type", "held"}, {"name", (*held)->pod->meta.name}});
}

void Api::end(std::string_view id, const ApiTime& time) {
  const Workload* w = plane_.workloads().find(id);
  if (!w) return;
  Ref ref = w->pod->meta.ref();
  ended_.push_front({ref, w->pod->service, w->pod->service_account, time.wall});
  if (ended_.size() > kMaxEnded) ended_.pop_back();
  std::vector<Event> events;
  plane_.workloads().remove(id, events);
  files_.remove(ref);
  plane_.apply(events, time.unix_seconds());
  log_info("workload gone", {{"workload", ref.to_string()}});
}

ApiAnswer Api::remove_workload(std::string_view id, const ApiTime& time) {
  if (!plane_.workloads().find(id)) return refuse(404, cat("no workload ", tulle::quoted(id)));
  end(id, time);
  return answer(Json::object());
}

void Api::tidy(const ApiTime& time) {
  for (const std::string& id : plane_.workloads().not_held(time.now)) end(id, time);
  plane_.endpoints().sweep();
  while (!ended_.empty() && time.wall - ended_.back().at > kKeepEnded) ended_.pop_back();
  if (tokens_written_ == WallTime{}) tokens_written_ = time.wall;
  if (time.wall - tokens_written_ < plane_.options().token_lifetime / 3) return;
  tokens_written_ = time.wall;
  for (const auto& [ref, pod] : plane_.index().snapshot().all_pods())
    if (auto written = files_.write_token(ref, new_token(*pod, time.wall)); !written)
      log_warn("a token could not be written", {{"workload", ref.to_string()}, {"error", written.error().reason}});
}

size_t Api::missing(const std::vector<Ref>& expected) const {
  return static_cast<size_t>(
      std::count_if(expected.begin(), expected.end(), [&](const Ref& r) { return !plane_.workloads().find(r); }));
}

// --- Questions ---

static Json settings_of(const Api::Options& options, const Plane& plane) {
  const Authorities& keys = plane.authorities();
  Json certificates = Json::array();
  certificates.push_back({{"name", "trust root"}, {"expires", format_rfc3339(keys.root.not_after())}});
  certificates.push_back({{"name", "issuer"}, {"expires", format_rfc3339(keys.issuer.not_after())}});
  return {{"name", options.mesh_name},
          {"version", options.version},
          {"grpc", options.grpc.to_string()},
          {"admin", options.admin.to_string()},
          {"prometheusTargets", cat("http://", options.admin.to_string(), "/v1/prometheus-targets")},
          {"clusterDomain", plane.mesh().cluster_domain},
          {"trustDomain", plane.mesh().trust_domain},
          {"defaultInboundPolicy", plane.mesh().default_inbound_policy},
          {"manifestFolder", options.manifests},
          {"logLevel", options.log},
          {"certificates", std::move(certificates)},
          {"certificateLifetimeSeconds", to_seconds(plane.options().certify.lifetime)}};
}

std::string Api::settings() const { return dump(settings_of(options_, plane_)); }

ApiAnswer Api::mesh() const {
  Json out = settings_of(options_, plane_);
  out.update({{"workloads", plane_.workloads().size()},
              {"services", plane_.index().snapshot().all_services().size()},
              {"manifests", plane_.folder().files().size()},
              {"resources", plane_.folder().size()},
              {"problems", all_problems().size()}});
  return answer(out);
}

ApiAnswer Api::resources(std::string_view kind, std::string_view query) const {
  auto known = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const KindPath& k) { return k.path == kind; });
  if (known == std::end(kKinds)) {
    std::string kinds;
    for (const KindPath& k : kKinds) append(kinds, kinds.empty() ? "" : ", ", k.path);
    return refuse(404, cat("no kind ", tulle::quoted(kind), "; accepted: ", kinds));
  }
  std::string ns = query_value(query, "namespace").value_or(""), name = query_value(query, "name").value_or("");
  auto wanted = [&](const Ref& r) { return (ns.empty() || r.ns == ns) && (name.empty() || r.name == name); };
  Json items = Json::array();
  Snapshot snapshot = plane_.index().snapshot();
  std::set<std::string> namespaces;  // that somebody uses
  if (known->kind == Kind::kNamespace)
    for (const auto& [key, resource] : plane_.index().resources())
      if (!key.ns.empty()) namespaces.insert(key.ns);
  for (const std::string& used : namespaces)
    if (Namespace implied;
        !plane_.index().resources().contains({Kind::kNamespace, "", "", used}) && wanted({"", used})) {
      implied.meta.name = used;
      items.push_back(to_json(Resource(std::move(implied))));
    }
  if (known->kind == Kind::kEndpointSlice)
    for (const auto& [ref, entry] : snapshot.all_services())
      for (Json& slice : slices(entry))
        if (wanted({ref.ns, slice["metadata"]["name"].get<std::string>()})) items.push_back(std::move(slice));
  if (known->kind == Kind::kService) {
    for (const auto& [ref, entry] : snapshot.all_services())
      if (wanted(ref)) items.push_back(to_json(entry));
  } else {
    for (const auto& [key, resource] : plane_.index().resources())
      if (key.kind == known->kind && wanted({key.ns, key.name})) items.push_back(to_json(*resource));
  }
  return answer({{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items)}});
}

std::vector<Problem> Api::all_problems() const {
  std::vector<Problem> out = plane_.folder().problems();
  Snapshot snapshot = plane_.index().snapshot();
  auto find = [&](const Ref& ref) {
    const ServiceEntry* entry = snapshot.service(ref);
    return entry ? entry->spec.get() : nullptr;
  };
  for (const auto& [key, resource] : plane_.index().resources())
    if (const auto* route = std::get_if<HttpRoute>(&*resource))
      for (Problem& p : missing_references(*route, find)) out.push_back(std::move(p));
  return out;
}

ApiAnswer Api::problems() const {
  Json items = Json::array();
  for (const Problem& p : all_problems()) items.push_back(to_json(p));
  return answer({{"items", std::move(items)}});
}

ApiAnswer Api::ended_workloads() const {
  Json items = Json::array();
  for (const Ended& e : ended_)
    items.push_back({{"namespace", e.ref.ns},
                     {"name", e.ref.name},
                     {"service", e.service},
                     {"service_account", e.service_account},
                     {"ended", format_rfc3339(e.at)}});
  return answer({{"items", std::move(items)}});
}

ApiAnswer Api::endpoints(std::string_view query) const {
  auto text = query_value(query, "target");
  if (!text) return refuse(400, cat("target: missing; accepted: ", kEndpointTargets));
  Snapshot snapshot = plane_.index().snapshot();
  auto whole = whole_target(snapshot, *text);
  if (!whole) return refuse(whole.error());
  auto target = parse_target(*whole, plane_.mesh().cluster_domain);
  auto* named = target ? std::get_if<ServiceTarget>(&*target) : nullptr;
  if (!named) {
    // What reads as a short name is one of a Service that is not there.
    auto parts = split_host_port(*text);
    if (!parts) return refuse(target.error());
    bool is_name = !IpAddr::parse(parts->host) && split(parts->host, '.').size() <= 2;
    return refuse(is_name ? 404 : 400, cat(is_name ? "no such service: " : "found ", tulle::quoted(*text),
                                           "; accepted: ", kEndpointTargets));
  }
  auto set = tulle::control::endpoints(snapshot, *named);
  if (!set) return refuse(set.error());
  if (!set->exists)
    return refuse(404, cat("no such service: ", named->service.to_string(), "; accepted: ", kEndpointTargets));
  Json list = Json::array();
  for (const wire::Endpoint& e : set->endpoints) {
    Json item = to_json(e);
    item["service"] = named->service.name;
    item["namespace"] = named->service.ns;
    list.push_back(std::move(item));
  }
  return answer({{"endpoints", std::move(list)}});
}

ApiAnswer Api::policy(std::string_view query) const {
  auto text = query_value(query, "target");
  if (!text) return refuse(400, cat("target: missing; accepted: ", kPolicyTargets));
  Snapshot snapshot = plane_.index().snapshot();
  auto whole = whole_target(snapshot, *text);
  if (!whole) return refuse(whole.error());
  auto question =
      parse_policy_target(*whole, plane_.mesh().cluster_domain, query_value(query, "namespace").value_or(""));
  if (!question) return refuse(question.error());
  if (auto* port = std::get_if<wire::PortSpec>(&*question)) {
    auto policy = inbound_policy(snapshot, *port);
    return policy ? answer(to_json(*policy)) : refuse(policy.error());
  }
  auto policy = outbound_policy(snapshot, as_a_proxy_asks(snapshot, std::get<wire::TrafficSpec>(std::move(*question))));
  if (policy) return answer(to_json(*policy));
  if (policy.error().code != Code::kNotFound) return refuse(policy.error());
  return refuse(404, cat(policy.error().reason, "; accepted: ", kPolicyTargets));
}

ApiAnswer Api::names(std::string_view query) const {
  wire::NameTable table =
      tulle::control::names(plane_.index().snapshot(), query_value(query, "namespace").value_or("default"));
  Json list = Json::object();
  for (const wire::Name& n : table.names) {
    Json addresses = Json::array();
    for (IpAddr ip : n.addresses) addresses.push_back(ip.to_string());
    list[n.name] = std::move(addresses);
  }
  return answer({{"names", std::move(list)}, {"search", table.search}, {"zones", table.zones}});
}

ApiAnswer Api::prometheus_targets() const {
  Json out = Json::array();
  for (const auto& [ref, pod] : plane_.index().snapshot().all_pods()) {
    Json labels = {{"namespace", ref.ns},
                   {"pod", ref.name},
                   {"serviceaccount", pod->service_account},
                   {"control_plane_ns", plane_.mesh().control_namespace}};
    if (!pod->service.empty()) labels["service"] = pod->service;
    out.push_back({{"targets", Json::array({cat(pod->address.to_string(), ":4191")})}, {"labels", std::move(labels)}});
  }
  return answer(out);
}

}  // namespace tulle::control
