#include "cli/command/api.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/command/daemon.h"
#include "cli/command/http.h"
#include "cli/command/local_mesh.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

using Json = nlohmann::json;

constexpr uint16_t kAdminPort = 4191;
constexpr Duration kControlTimeout = 3s;
constexpr Duration kPodTimeout = 3s;
constexpr std::string_view kStartTime = "process_start_time_seconds";

Json member(const Json& object, std::string_view key) {
  auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? Json() : *found;
}

std::string text(const Json& object, std::string_view key) {
  Json value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

Result<Json> parse_items(std::string_view list_json) {
  Json items = member(Json::parse(list_json, nullptr, false), "items");
  if (!items.is_array())
    return fail(Code::kProtocol, "the control plane's answer is not a list: is it of another version?");
  return items;
}

// All pairs of `wanted` are in `labels`.
bool selects(const Json& wanted, const Json& labels) {
  if (!wanted.is_object() || wanted.empty()) return false;
  for (const auto& [key, value] : wanted.items())
    if (member(labels, key) != value) return false;
  return true;
}

bool is_ready(const Json& status) {
  Json conditions = member(status, "conditions");
  if (!conditions.is_array()) return false;
  return std::ranges::any_of(conditions,
                             [](const Json& c) { return text(c, "type") == "Ready" && text(c, "status") == "True"; });
}

PodInfo pod_of(const Json& item, const Json& services) {
  Json meta = member(item, "metadata"), status = member(item, "status"), labels = member(meta, "labels");
  PodInfo pod;
  pod.ns = text(meta, "namespace");
  pod.name = text(meta, "name");
  pod.service_account = text(member(item, "spec"), "serviceAccountName");
  if (pod.service_account.empty()) pod.service_account = "default";
  pod.ip = text(status, "podIP");
  pod.ready = is_ready(status);
  pod.meshed = !text(labels, "linkerd.io/control-plane-ns").empty();
  std::string own = text(member(meta, "annotations"), "tulle.dev/service");
  if (!own.empty()) pod.services.push_back(own);
  for (const Json& service : services) {
    Json service_meta = member(service, "metadata");
    std::string name = text(service_meta, "name");
    if (name != own && text(service_meta, "namespace") == pod.ns &&
        selects(member(member(service, "spec"), "selector"), labels))
      pod.services.push_back(name);
  }
  return pod;
}

// The error of an answer that is none: {"error": "…"}, or the body's start.
Error error_of(const HttpAnswer& answer) {
  std::string why = text(Json::parse(answer.body, nullptr, false), "error");
  if (why.empty())
    why = cat("answered with status ", answer.status, ": ", std::string_view(answer.body).substr(0, 200));
  Code code = answer.status == 404 ? Code::kNotFound : answer.status == 400 ? Code::kInvalid : Code::kInternal;
  return Error(code, std::move(why), Side::kPeer);
}

double value_of(const std::vector<observe::Sample>& samples, std::string_view name) {
  for (const observe::Sample& s : samples)
    if (s.name == name) return s.value;
  return 0;
}

// Somebody took the connection and said nothing.
std::string silence(const MeshPaths& mesh) {
  std::string out = cat("the control plane of mesh ", mesh.name);
  auto process = read_pid_file(mesh.in_runtime("control.pid"));
  if (process) append(out, " (pid ", process->pid, is_stopped(*process) ? ", stopped by a signal" : "", ")");
  return cat(out, " has not answered within ", format_duration(kControlTimeout));
}

}  // namespace

std::string silence_remedy(const MeshPaths& mesh) {
  auto process = read_pid_file(mesh.in_runtime("control.pid"));
  if (process && is_stopped(*process))
    return cat("`kill -CONT ", process->pid, "` lets it go on; meanwhile pods go on with what they know");
  return cat("wait, and look into ", control_log(mesh), "; if it stays so, `tulle down --mesh ", mesh.name,
             "`, then `tulle up`: pods go on with what they know");
}

Result<std::string> ask_control(const MeshPaths& mesh, std::string_view path) {
  auto answer = http_get({{{}, mesh.socket}, std::string(path)}, kControlTimeout);
  if (answer && answer->status == 200) return std::move(answer->body);
  if (answer) return fail(error_of(*answer));
  Error& e = answer.error();
  if (e.code == Code::kTimeout) return fail(Code::kTimeout, silence(mesh));
  if (e.code == Code::kTooLarge || e.code == Code::kDenied) return fail(std::move(e));
  return fail(Code::kUnavailable,
              cat("mesh ", mesh.name, " is not up (", e.reason, "): start it with `tulle up --mesh ", mesh.name, "`"));
}

std::string url_escape(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    bool plain = is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
    auto byte = static_cast<unsigned char>(c);
    if (plain) out += c;
    else append(out, '%', kHex[byte >> 4], kHex[byte & 15]);
  }
  return out;
}

Result<std::vector<PodInfo>> parse_pods(std::string_view pods_json, std::string_view services_json) {
  TULLE_TRY(Json pods, parse_items(pods_json));
  TULLE_TRY(Json services, parse_items(services_json));
  std::vector<PodInfo> out;
  for (const Json& item : pods) out.push_back(pod_of(item, services));
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> parse_names(std::string_view list_json) {
  TULLE_TRY(Json items, parse_items(list_json));
  std::vector<std::pair<std::string, std::string>> out;
  for (const Json& item : items) {
    Json meta = member(item, "metadata");
    out.emplace_back(text(meta, "namespace"), text(meta, "name"));
  }
  return out;
}

Result<std::vector<control::Problem>> parse_problems(std::string_view json) {
  TULLE_TRY(Json items, parse_items(json));
  std::vector<control::Problem> out;
  for (const Json& item : items) {
    Json line = member(item, "line");
    using enum control::Problem::Severity;
    out.push_back({text(item, "severity") == "warning" ? kWarning : kError, text(item, "file"),
                   line.is_number_integer() ? line.get<int>() : 0, text(item, "resource"), text(item, "field"),
                   text(item, "message")});
  }
  return out;
}

Result<Inventory> take_inventory(const MeshPaths& mesh) {
  TULLE_TRY(std::string pods, ask_control(mesh, "/v1/resources/pods"));
  TULLE_TRY(std::string services, ask_control(mesh, "/v1/resources/services"));
  Inventory inventory;
  TULLE_TRY(inventory.pods, parse_pods(pods, services));
  TULLE_TRY(inventory.services, parse_names(services));
  TULLE_TRY(std::string ended, ask_control(mesh, "/v1/ended-workloads"));
  TULLE_TRY(inventory.ended, parse_ended(ended));
  return inventory;
}

Result<std::vector<EndedPod>> parse_ended(std::string_view list_json) {
  TULLE_TRY(Json items, parse_items(list_json));
  std::vector<EndedPod> out;
  for (const Json& item : items)
    out.push_back({text(item, "namespace"), text(item, "name"), text(item, "service"), text(item, "service_account")});
  return out;
}

std::vector<Result<std::string>> read_metrics(const std::vector<PodInfo>& pods) {
  std::vector<Ask> asks;
  std::vector<Result<std::string>> answers;
  for (const PodInfo& pod : pods) {
    auto ip = IpAddr::parse(pod.ip);
    answers.emplace_back(ip ? Result<std::string>() : fail(Code::kUnavailable, "it has no address"));
    if (ip) asks.push_back({{SocketAddr(*ip, kAdminPort), ""}, "/metrics"});
  }
  std::vector<Result<HttpAnswer>> got = http_get_all(asks, kPodTimeout);
  size_t next = 0;
  for (auto& answer : answers) {
    if (!answer) continue;
    Result<HttpAnswer>& g = got[next++];
    if (!g) answer = fail(std::move(g).error());
    else if (g->status != 200) answer = fail(error_of(*g));
    else answer = std::move(g->body);
  }
  return answers;
}

Observation observe_pods(const std::vector<PodInfo>& pods, Duration window) {
  std::map<std::string, std::pair<std::vector<observe::Sample>, Clock::time_point>> first;
  auto key = [](const PodInfo& pod) { return cat(pod.ns, '/', pod.name); };
  std::vector<PodInfo> meshed;
  Observation out;
  for (const PodInfo& pod : pods)
    if (pod.meshed) meshed.push_back(pod);
    else out.scrapes.push_back({pod, {}, {}, 0});
  if (window > Duration::zero()) {
    Clock::time_point begin = Clock::now();
    std::vector<Result<std::string>> answers = read_metrics(meshed);
    for (size_t i = 0; i < meshed.size(); ++i)
      if (auto samples = answers[i] ? observe::parse_metrics(*answers[i]) : fail(answers[i].error()))
        first[key(meshed[i])] = {std::move(*samples), begin};
    std::this_thread::sleep_until(begin + window);
  }
  Clock::time_point end = Clock::now();
  std::vector<Result<std::string>> answers = read_metrics(meshed);
  for (size_t i = 0; i < meshed.size(); ++i) {
    auto samples = answers[i] ? observe::parse_metrics(*answers[i]) : fail(answers[i].error());
    if (!samples) {
      out.unreachable.push_back(cat(key(meshed[i]), ": ", samples.error().reason));
      out.scrapes.push_back({meshed[i], {}, {}, 0});
      continue;
    }
    Scrape scrape{meshed[i], {}, std::move(*samples), 0};
    if (auto was = first.find(key(meshed[i])); was != first.end()) {
      scrape.before = std::move(was->second.first);
      scrape.seconds = to_seconds(end - was->second.second);
    } else {  // its whole life
      scrape.seconds = value_of(scrape.after, "process_clock_time_seconds") - value_of(scrape.after, kStartTime);
    }
    out.scrapes.push_back(std::move(scrape));
  }
  return out;
}

}  // namespace tulle::cli
