// tulle-control: the control plane of a mesh.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "control/app/options.h"

int main(int argc, char** argv) {
  tulle::control::ControlOptions o;
  CLI::App app("tulle-control: the control plane of a mesh on this machine. `tulle up` starts it.");
  app.add_option("--mesh", o.mesh, "name of the mesh, for people")->capture_default_str();
  app.add_option("--state-dir,--state", o.state_dir, "folder of keys and service addresses; made if it is not there")
      ->required();
  app.add_option("--manifests,--dir", o.manifests,
                 "folder of Kubernetes-style manifests (*.yaml, *.yml, *.json), watched");
  app.add_option("--socket", o.socket, "path of the API's Unix socket; its folder also gets mesh.json")->required();
  app.add_option("--listen", o.listen, "address for proxies (gRPC); port 0: that of the last run, or any")
      ->capture_default_str();
  app.add_option("--admin-listen", o.admin_listen, "address for /live, /ready and /metrics; port 0 as above")
      ->capture_default_str();
  app.add_option("--cluster-domain", o.cluster_domain, "ending of the names of services")->capture_default_str();
  app.add_option("--trust-domain", o.trust_domain, "ending of identities")->capture_default_str();
  app.add_option("--control-namespace", o.control_namespace, "namespace in identities")->capture_default_str();
  app.add_option("--default-inbound-policy", o.default_inbound_policy,
                 "who may talk to a port that no Server has: all-unauthenticated, all-authenticated,\n"
                 "cluster-unauthenticated, cluster-authenticated, audit or deny")
      ->capture_default_str();
  app.add_option("--pod-network", o.pod_network,
                 "where pods get their addresses; another than that of `tulle run` is for proxies that are run\n"
                 "by other means, such as linkerd2-proxy, which connects to no loopback address")
      ->capture_default_str();
  app.add_option("--default-opaque-ports", o.opaque_ports, "ports without protocol detection")->capture_default_str();
  app.add_option("--identity-lifetime", o.identity_lifetime, "of a workload's certificate")->capture_default_str();
  app.add_option("--identity-skew", o.identity_skew, "how far clocks may differ")->capture_default_str();
  app.add_option("--log,--log-level", o.log, "trace, debug, info, warn, error or off")->capture_default_str();
  app.add_option("--log-format", o.log_format, "plain or json")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "tulle-control: %s\n", e.what());
    return 64;
  }
  return tulle::control::run_control(o);
}
