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
  return ended;
}

// The folder of all meshes, when this was the last.
static void remove_parent(const std::string& path) { ::rmdir(std::filesystem::path(path).parent_path().c_str()); }

void abandon_mesh(const MeshPaths& mesh) {
  end_programs(mesh);
  for (std::string_view name : {"lock", "prometheus.yml", "prometheus.url"}) ::unlink(mesh.in_runtime(name).c_str());
  ::rmdir(mesh.runtime.c_str());  // where nothing is left
  remove_parent(mesh.runtime);
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

# Where its requests go: nine of ten to hello-v1, one to hello-v2 (two more Services, which select by version).
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

std::string targets_url(std::string_view mesh_json) {
  auto mesh = nlohmann::json::parse(mesh_json, nullptr, false);
  if (!mesh.is_object()) return "";
  auto url = mesh.find("prometheusTargets");
  return url != mesh.end() && url->is_string() ? url->get<std::string>() : "";
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
