// The flags of tulle-control.
#pragma once

#include <string>

#include "libs/base/result.h"

namespace tulle::control {

struct ControlOptions {
  std::string mesh = "local";
  std::string state_dir;
  std::string manifests;  // "": none
  std::string socket;
  std::string listen = "127.0.0.1:0";
  std::string admin_listen = "127.0.0.1:0";
  std::string cluster_domain = "cluster.local";
  std::string trust_domain = "cluster.local";
  std::string control_namespace = "linkerd";
  std::string default_inbound_policy = "all-unauthenticated";
  std::string pod_network = "127.64.0.0/11";
  std::string opaque_ports = "25,587,3306,4444,5432,6379,9300,11211";
  std::string identity_lifetime = "24h";
  std::string identity_skew = "20s";
  std::string log = "info";
  std::string log_format = "plain";
};

// Runs until SIGTERM or SIGINT. Gives the exit code: 0, or 1 where it cannot start, with the reason on standard error.
int run_control(const ControlOptions& options);

}  // namespace tulle::control
