// What flows in the mesh, worked out from the metrics of its proxies. Pure functions of scrapes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "libs/observe/scrape.h"

namespace tulle::cli {

// A running instance, as the control plane lists it.
struct PodInfo {
  std::string ns;
  std::string name;
  std::vector<std::string> services;  // of its namespace that it serves, the one it was started for first
  std::string service_account;
  std::string ip;
  bool ready = false;
  bool meshed = true;

  // The service it was started for, else its own name.
  const std::string& workload() const { return services.empty() ? name : services[0]; }
};

// An instance that has ended not long ago, as the control plane remembers it.
struct EndedPod {
  std::string ns;
  std::string name;
  std::string service;  // "": none
  std::string service_account;
};

// The metrics of one pod's proxy at two moments. `before` empty: everything since the proxy started counts.
struct Scrape {
  PodInfo pod;
  std::vector<observe::Sample> before;
  std::vector<observe::Sample> after;
  double seconds = 0;  // between the two, or since the start
};

// Requests and bytes that went one way, within the time between two scrapes.
struct Traffic {
  double succeeded = 0;  // responses a second, by classification
  double failed = 0;
  double connections = 0;            // TCP, open now
  double to_server = 0;              // bytes a second, from clients
  double to_client = 0;              // bytes a second, back
  double ever = 0;                   // responses and connections since the start
  std::map<double, double> latency;  // upper bound in ms → responses a second that took at most that long

  void add(const Traffic& other);
  double rps() const { return succeeded + failed; }
  double success() const;             // 0–1; NaN without a response
  double latency_ms(double q) const;  // NaN without a response
};

// Who the rows are about.
enum class Grain : unsigned char { kService, kPod };

struct StatRow {
  std::string ns;
  std::string name;
  int meshed = 0, ready = 0, pods = 0;
  Traffic traffic;
};
// kPod: what each pod was asked, as its own proxy saw it (inbound). kService: what was asked of each service, as the
// proxies of its clients saw it (outbound), every service of `services` included. Sorted by namespace and name.
std::vector<StatRow> stat_rows(const std::vector<Scrape>& scrapes, Grain grain,
                               const std::vector<std::pair<std::string, std::string>>& services = {});

struct EdgeRow {
  std::string src_ns, src;
  std::string src_text;    // for people, where it differs from src: "curl (ended)"; "" where it does not
  bool src_ended = false;  // the client has ended
  std::string dst_ns, dst;
  std::string client_id, server_id;  // "" where not known or none
  bool secured = false;
  std::string reason;  // why not secured: Linkerd's no_tls_reason
  Traffic traffic;
};
// Who talked to whom, as the clients' proxies saw it; a client that has no proxy, or whose proxy has ended, as the
// servers' proxies saw it: "(unmeshed)", or an identity, which is a service account. Such a client goes by the name of
// the pod of `ended` that had the account, where all of them had one name, else by the account. Pods' admin ports are
// left out.
std::vector<EdgeRow> edge_rows(const std::vector<Scrape>& scrapes, Grain grain,
                               const std::vector<EndedPod>& ended = {});

}  // namespace tulle::cli
