#include "cli/command/traffic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

using observe::Sample;

constexpr std::string_view kAdminPort = "4191";
constexpr std::string_view kUnmeshed = "(unmeshed)";
constexpr std::string_view kIdentityMark = ".serviceaccount.identity.";

std::string key_of(const Sample& sample) {
  std::string key = sample.name;
  for (const auto& [name, value] : sample.labels) append(key, '\0', name, '\0', value);
  return key;
}

// What one series adds to the traffic it belongs to. `change`: of a counter, since the scrape before.
void count(Traffic& to, const Sample& s, double change, double seconds) {
  double rate = seconds > 0 ? change / seconds : 0;
  if (s.name == "response_total") {
    (s.label("classification") == "success" ? to.succeeded : to.failed) += rate;
    to.ever += s.value;
  } else if (s.name == "response_latency_ms_bucket") {
    std::string_view le = s.label("le");
    double bound = std::numeric_limits<double>::infinity();
    if (le != "+Inf") bound = std::strtod(std::string(le).c_str(), nullptr);
    to.latency[bound] += rate;
  } else if (s.name == "tcp_open_connections") {
    to.connections += s.value;
  } else if (s.name == "tcp_open_total") {
    to.ever += s.value;
  } else if (s.name == "tcp_read_bytes_total" || s.name == "tcp_write_bytes_total") {
    // The server's proxy reads what the client's proxy writes.
    bool to_server = (s.label("direction") == "inbound") == (s.name == "tcp_read_bytes_total");
    (to_server ? to.to_server : to.to_client) += rate;
  }
}

bool counted(const Sample& s, std::string_view direction, std::string_view peer) {
  if (s.label("direction") != direction || s.label("target_port") == kAdminPort) return false;
  if (s.name == "response_total" || s.name == "response_latency_ms_bucket") return true;
  return s.name.starts_with("tcp_") && s.label("peer") == peer;
}

// Calls f(sample, change) for each sample of the later scrape that is counted.
template <class F>
void for_each_change(const Scrape& scrape, std::string_view direction, std::string_view peer, F&& f) {
  std::map<std::string, double> before;
  for (const Sample& s : scrape.before)
    if (counted(s, direction, peer)) before[key_of(s)] += s.value;
  for (const Sample& s : scrape.after) {
    if (!counted(s, direction, peer)) continue;
    auto was = before.find(key_of(s));
    double change = was == before.end() ? s.value : s.value - was->second;
    f(s, change < 0 ? s.value : change);  // less than before: the proxy was started anew
  }
}

struct EdgeKey {
  std::string src_ns, src, dst_ns, dst, server_id, client_id, reason;
  bool secured;
  bool src_ended = false;
  std::string src_text{};
  auto operator<=>(const EdgeKey&) const = default;
};

// "api.default.serviceaccount.identity.linkerd.cluster.local" → api, default.
std::pair<std::string, std::string> account_of(std::string_view identity) {
  std::string_view head = identity.substr(0, identity.find(kIdentityMark));
  size_t dot = head.rfind('.');
  if (head.size() == identity.size() || dot == head.npos) return {std::string(identity), ""};
  return {std::string(head.substr(0, dot)), std::string(head.substr(dot + 1))};
}

// The identity of a client, named like the server's it shares a mesh with.
std::string client_identity(const PodInfo& pod, std::string_view server_id) {
  size_t at = server_id.find(kIdentityMark);
  return at == server_id.npos ? "" : cat(pod.service_account, '.', pod.ns, server_id.substr(at));
}

EdgeKey outbound_key(const PodInfo& pod, const Sample& s, Grain grain) {
  EdgeKey key{.src_ns = pod.ns,
              .src = grain == Grain::kPod ? pod.name : pod.workload(),
              .dst_ns{},
              .dst{},
              .server_id{},
              .client_id{},
              .reason{},
              .secured = s.label("tls") == "true"};
  key.dst_ns = s.label("dst_namespace");
  std::string_view dst = s.label(grain == Grain::kPod ? "dst_pod" : "dst_service");
  if (dst.empty()) dst = s.label("dst_pod");
  if (dst.empty()) dst = s.label("authority");
  if (dst.empty()) dst = s.label("target_addr");
  key.dst = dst;
  key.server_id = s.label("server_id");
  if (key.secured) key.client_id = client_identity(pod, key.server_id);
  else key.reason = s.label("no_tls_reason").empty() ? std::string_view("disabled") : s.label("no_tls_reason");
  return key;
}

EdgeKey inbound_key(const PodInfo& pod, const Sample& s, Grain grain) {
  EdgeKey key{.src_ns{},
              .src = std::string(kUnmeshed),
              .dst_ns = pod.ns,
              .dst = grain == Grain::kPod ? pod.name : pod.workload(),
              .server_id{},
              .client_id{},
              .reason{},
              .secured = s.label("tls") == "true" && !s.label("client_id").empty()};
  if (key.secured) {
    key.client_id = s.label("client_id");
    std::tie(key.src, key.src_ns) = account_of(key.client_id);
    size_t at = key.client_id.find(kIdentityMark);
    if (at != std::string::npos) key.server_id = cat(pod.service_account, '.', pod.ns, key.client_id.substr(at));
  } else {
    key.reason = s.label("no_tls_reason").empty() ? s.label("tls") : s.label("no_tls_reason");
  }
  return key;
}

using Edges = std::map<EdgeKey, Traffic>;

// Gives a client that a server knows by its service account (key.src) the name that it had. As long as a pod of that
// account runs whose proxy was not heard, it may be that one.
void name_ended(EdgeKey& key, const std::vector<Scrape>& scrapes, Grain grain, const std::vector<EndedPod>& ended) {
  constexpr size_t kMostNames = 3;
  for (const Scrape& s : scrapes)
    if (s.pod.meshed && s.after.empty() && s.pod.ns == key.src_ns && s.pod.service_account == key.src) return;
  std::vector<std::string> names;
  for (const EndedPod& pod : ended) {
    if (pod.ns != key.src_ns || pod.service_account != key.src) continue;
    const std::string& name = grain == Grain::kPod || pod.service.empty() ? pod.name : pod.service;
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  if (names.empty()) return;
  key.src_ended = true;
  if (names.size() == 1) key.src = names[0];
  else if (names.size() <= kMostNames) key.src_text = cat(join(names, " or "), " (ended)");
  if (key.src_text.empty()) key.src_text = cat(key.src, " (ended)");
}

// The edges of clients that no proxy of ours speaks for.
void add_servers_view(Edges& edges, const std::vector<Scrape>& scrapes, Grain grain,
                      const std::vector<EndedPod>& ended) {
  std::set<std::tuple<std::string, std::string, std::string>> told;  // client's identity, server's namespace and name
  for (const auto& [key, traffic] : edges) told.emplace(key.client_id, key.dst_ns, key.dst);
  for (const Scrape& scrape : scrapes) {
    Edges seen;
    for_each_change(scrape, "inbound", "src", [&](const Sample& s, double change) {
      count(seen[inbound_key(scrape.pod, s, grain)], s, change, scrape.seconds);
    });
    for (auto& [key, traffic] : seen) {
      bool known = false;
      // A pod may serve under several names, and the client has used one of them.
      std::vector<std::string> names = scrape.pod.services;
      names.push_back(scrape.pod.name);
      if (key.secured)
        known = std::ranges::any_of(
            names, [&](const std::string& n) { return told.contains({key.client_id, key.dst_ns, n}); });
      if (known) continue;
      EdgeKey named = key;
      if (key.secured) name_ended(named, scrapes, grain, ended);
      edges[named].add(traffic);
    }
  }
}

}  // namespace

void Traffic::add(const Traffic& o) {
  succeeded += o.succeeded;
  failed += o.failed;
  connections += o.connections;
  to_server += o.to_server;
  to_client += o.to_client;
  ever += o.ever;
  for (const auto& [bound, rate] : o.latency) latency[bound] += rate;
}

double Traffic::success() const { return rps() > 0 ? succeeded / rps() : std::nan(""); }

double Traffic::latency_ms(double q) const {
  std::vector<observe::Bucket> buckets;
  for (const auto& [bound, rate] : latency) buckets.push_back({bound, rate});
  return observe::histogram_quantile(q, buckets);
}

std::vector<StatRow> stat_rows(const std::vector<Scrape>& scrapes, Grain grain,
                               const std::vector<std::pair<std::string, std::string>>& services) {
  std::map<std::pair<std::string, std::string>, StatRow> rows;
  auto row = [&](std::string_view ns, std::string_view name) -> StatRow& {
    StatRow& r = rows[{std::string(ns), std::string(name)}];
    r.ns = ns;
    r.name = name;
    return r;
  };
  for (const auto& [ns, name] : services) row(ns, name);
  for (const Scrape& scrape : scrapes) {
    const PodInfo& pod = scrape.pod;
    auto belongs = [&](StatRow& r) {
      ++r.pods;
      r.meshed += pod.meshed;
      r.ready += pod.ready;
    };
    if (grain == Grain::kPod) belongs(row(pod.ns, pod.name));
    else
      for (const std::string& service : pod.services) belongs(row(pod.ns, service));
    if (grain == Grain::kPod) {
      Traffic& traffic = row(pod.ns, pod.name).traffic;
      for_each_change(scrape, "inbound", "src",
                      [&](const Sample& s, double change) { count(traffic, s, change, scrape.seconds); });
    } else {
      for_each_change(scrape, "outbound", "dst", [&](const Sample& s, double change) {
        if (!s.label("dst_service").empty())
          count(row(s.label("dst_namespace"), s.label("dst_service")).traffic, s, change, scrape.seconds);
      });
    }
  }
  std::vector<StatRow> out;
  for (auto& [key, r] : rows) out.push_back(std::move(r));
  return out;
}

std::vector<EdgeRow> edge_rows(const std::vector<Scrape>& scrapes, Grain grain, const std::vector<EndedPod>& ended) {
  Edges edges;
  for (const Scrape& scrape : scrapes)
    for_each_change(scrape, "outbound", "dst", [&](const Sample& s, double change) {
      count(edges[outbound_key(scrape.pod, s, grain)], s, change, scrape.seconds);
    });
  add_servers_view(edges, scrapes, grain, ended);
  std::vector<EdgeRow> out;
  for (auto& [key, traffic] : edges)
    if (traffic.ever > 0 || traffic.connections > 0)
      out.push_back({key.src_ns, key.src, key.src_text, key.src_ended, key.dst_ns, key.dst, key.client_id,
                     key.server_id, key.secured, key.reason, std::move(traffic)});
  return out;
}

}  // namespace tulle::cli
