// The flags of `tulle run`, as values. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::cli {

struct NamedPort {
  std::string name;  // may be empty where it is the only one
  uint16_t number = 0;
};

// 127.0.0.1:9000:8080 — connections to the first two on the host reach the last in the pod.
struct Expose {
  SocketAddr at;  // port 0: any that is free
  uint16_t pod_port = 0;
};

struct RunOptions {
  std::string mesh;
  std::string name;     // empty: the control plane chooses
  std::string service;  // empty: a workload that serves nothing
  std::string ns = "default";
  std::string service_account;  // empty: the control plane's default
  std::vector<NamedPort> ports;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string ready_path;  // empty: ready once all ports are listened on
  std::vector<Expose> exposes;
  std::vector<uint16_t> host_ports;
  Duration grace = 30s;   // from SIGTERM to SIGKILL
  std::string proxy;      // program; empty: beside this one
  std::string proxy_log;  // file; empty: standard error
  std::vector<std::string> command;
};

// "http=8080" or "8080", and no port that is the proxy's in each pod. Names are those of Kubernetes: 1–15 of a–z, 0–9
// and '-', with a letter.
Result<NamedPort> parse_port(std::string_view text);
// "KEY=VALUE"; the value may be empty.
Result<std::pair<std::string, std::string>> parse_label(std::string_view text);
// "PORT", a number.
Result<uint16_t> parse_host_port(std::string_view text);
// "[ADDRESS:]HOST_PORT:POD_PORT"; the address is an IP, 127.0.0.1 by default; host port 0 is a free one.
Result<Expose> parse_expose(std::string_view text);
// What contradicts itself: two ports of one name or number, a ready path without a port, too many host ports.
Result<> check_options(const RunOptions& options);

}  // namespace tulle::cli
