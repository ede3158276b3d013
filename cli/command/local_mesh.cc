#include "cli/command/local_mesh.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/command/daemon.h"
#include "cli/pod/process.h"
#include "cli/render/text.h"
#include "libs/base/strings.h"

namespace tulle::cli {

// Prometheus writes its last block when it ends.
static constexpr Duration kPatience = 10s;

std::string control_log(const MeshPaths& mesh) { return mesh.state + "/control.log"; }

Result<std::string> sibling_program(std::string_view name) {
  TULLE_TRY(std::string folder, program_folder());
  std::string path = cat(folder, '/', name);
  if (::access(path.c_str(), X_OK) == 0) return path;
  path = find_program(name);
  if (path.empty()) return fail(Code::kNotFound, cat(name, " is neither in ", folder, " nor in PATH"));
  return path;
}

int end_programs(const MeshPaths& mesh) {
  int ended = 0;
  for (std::string_view name : {"prometheus.pid", "control.pid"}) {
    std::string path = mesh.in_runtime(name);
    auto process = read_pid_file(path);
    if (process) {
      end_process(*process, kPatience);
      ++ended;
    }
    ::unlink(path.c_str());
  }
  ::unlink(mesh.in_runtime("up.pid").c_str());
  return ended;
}

// The folder of all meshes, when this was the last.
static void remove_parent(const std::string& path) { ::rmdir(std::filesystem::path(path).parent_path().c_str()); }

void abandon_mesh(const MeshPaths& mesh) {
  end_programs(mesh);
  for (std::string_view name : {"lock", "prometheus.yml", "prometheus.url"}) ::unlink(mesh.in_runtime(name).c_str());
  std::error_code ec;
  if (std::filesystem::is_empty(control_log(mesh), ec) && !ec) ::unlink(control_log(mesh).c_str());
  for (const std::string& folder : {mesh.runtime, mesh.state}) {
    ::rmdir(folder.c_str());  // where nothing is left
    remove_parent(folder);
  }
}

int end_mesh(const MeshPaths& mesh) {
  int ended = end_programs(mesh);
  // Another one may be removing the same files (`tulle down` beside an ending `tulle up --foreground`), and whoever
  // misses one gives up: again, then.
  std::error_code ec;
  for (int tries = 0; tries < 10 && std::filesystem::exists(mesh.runtime, ec); ++tries)
    std::filesystem::remove_all(mesh.runtime, ec);
  remove_parent(mesh.runtime);
  return ended;
}

void purge_mesh(const MeshPaths& mesh) {
  std::error_code ec;
  std::filesystem::remove_all(mesh.state, ec);
  remove_parent(mesh.state);
}

const char* example_manifest() {
  return R"(# Manifests of this mesh: Kubernetes resources, any number in a file, any number of files. A change takes effect when
# it is saved; `tulle validate FILE` says what is wrong with one. Nothing here is needed: `tulle run --service NAME`
# makes the service it names. Take off the "# " from what you want.

# A service whose name resolves before anything runs, and whose pods are chosen by label:
#   tulle run --service hello --label app=hello --label version=v1 --port http=8080 -- CMD
# ---
# apiVersion: v1
# kind: Service
# metadata: {name: hello, namespace: default}
# spec:
#   selector: {app: hello}
#   ports: [{name: http, port: 80, targetPort: http}]

# Who may talk to it: only workloads with an identity of this mesh.
# ---
# apiVersion: policy.linkerd.io/v1beta3
# kind: Server
# metadata: {name: hello-http, namespace: default}
# spec:
#   podSelector: {matchLabels: {app: hello}}
#   port: http
#   proxyProtocol: HTTP/1
#   accessPolicy: all-authenticated

# Where its requests go: nine of ten to version v1, one to v2. Backends are Services too, here chosen by version.
# ---
# apiVersion: v1
# kind: Service
# metadata: {name: hello-v1, namespace: default}
# spec:
#   selector: {app: hello, version: v1}
#   ports: [{name: http, port: 80, targetPort: http}]
# ---
# apiVersion: v1
# kind: Service
# metadata: {name: hello-v2, namespace: default}
# spec:
#   selector: {app: hello, version: v2}
#   ports: [{name: http, port: 80, targetPort: http}]
# ---
# apiVersion: gateway.networking.k8s.io/v1
# kind: HTTPRoute
# metadata: {name: hello, namespace: default}
# spec:
#   parentRefs: [{group: "", kind: Service, name: hello, port: 80}]
#   rules:
#   - backendRefs:
#     - {name: hello-v1, port: 80, weight: 9}
#     - {name: hello-v2, port: 80, weight: 1}
)";
}

// A text of the answer of /v1/mesh; "" where there is none.
static std::string mesh_text(std::string_view mesh_json, const char* key) {
  auto mesh = nlohmann::json::parse(mesh_json, nullptr, false);
  if (!mesh.is_object()) return "";
  auto found = mesh.find(key);
  return found != mesh.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string targets_url(std::string_view mesh_json) { return mesh_text(mesh_json, "prometheusTargets"); }

std::vector<std::string> differences(const Wishes& wishes, std::string_view mesh_json, bool prometheus) {
  std::vector<std::string> out;
  auto compare = [&](std::string_view flag, const std::optional<std::string>& wish, const char* key,
                     std::string_view verb) {
    std::string now = mesh_text(mesh_json, key);
    if (wish && *wish != now) out.push_back(cat(flag, ' ', *wish, ": it ", verb, ' ', now));
  };
  compare("--dir", wishes.dir, "manifestFolder", "reads");
  compare("--default-inbound-policy", wishes.default_policy, "defaultInboundPolicy", "has");
  compare("--log-level", wishes.log_level, "logLevel", "has");
  if (wishes.identity_lifetime) {
    auto mesh = nlohmann::json::parse(mesh_json, nullptr, false);
    double now = mesh.is_object() ? mesh.value("certificateLifetimeSeconds", 0.0) : 0.0;
    if (now != to_seconds(*wishes.identity_lifetime))
      out.push_back(cat("--identity-lifetime ", format_duration(*wishes.identity_lifetime), ": it has ", now, "s"));
  }
  if (wishes.foreground) out.push_back("--foreground: it runs apart from this command");
  if (wishes.no_prometheus && prometheus) out.push_back("--no-prometheus: it has one");
  return out;
}

std::string prometheus_config(std::string_view targets_url) {
  return cat(R"(# Written by `tulle up` each time.
global:
  scrape_interval: 10s
  scrape_timeout: 5s
scrape_configs:
- job_name: linkerd-proxy
  http_sd_configs:
  - url: )",
             json_string(targets_url), "\n    refresh_interval: 5s\n");
}

}  // namespace tulle::cli
