// Questions to the control plane's JSON API, and to the pods it knows.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command/mesh_paths.h"
#include "cli/command/traffic.h"
#include "control/source/problem.h"
#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::cli {

// The JSON text that the control plane of that mesh answers `path` with. Error kUnavailable: the mesh is not up;
// kTimeout: it is, and has said nothing for 3 s.
Result<std::string> ask_control(const MeshPaths& mesh, std::string_view path);
// What to do about a control plane that does not answer.
std::string silence_remedy(const MeshPaths& mesh);

// `text` for a query of a URL: what is not a letter, digit or one of -._~ becomes %XX.
std::string url_escape(std::string_view text);

// Pods of {"items": […]} as the API gives them, with the services of another such list that select them. Error: it is
// not of that form. Pure.
Result<std::vector<PodInfo>> parse_pods(std::string_view pods_json, std::string_view services_json);
// (namespace, name) of each item of a list. Pure.
Result<std::vector<std::pair<std::string, std::string>>> parse_names(std::string_view list_json);

// The answer of /v1/ended-workloads. Pure.
Result<std::vector<EndedPod>> parse_ended(std::string_view list_json);

// The answer of /v1/problems. Pure.
Result<std::vector<control::Problem>> parse_problems(std::string_view json);

// What there is to observe now.
struct Inventory {
  std::vector<PodInfo> pods;
  std::vector<std::pair<std::string, std::string>> services;  // namespace, name
  std::vector<EndedPod> ended;                                // the latest first
};
Result<Inventory> take_inventory(const MeshPaths& mesh);

// The metrics of the meshed pods, in text. An error stands for a pod that did not answer within 3 s.
std::vector<Result<std::string>> read_metrics(const std::vector<PodInfo>& pods);

struct Observation {
  std::vector<Scrape> scrapes;           // of all pods; without samples where unmeshed or unreachable
  std::vector<std::string> unreachable;  // "shop/api-1: REASON"
};
// Scrapes all pods twice, `window` apart. Zero: once, for what has been since each proxy started.
Observation observe_pods(const std::vector<PodInfo>& pods, Duration window);

}  // namespace tulle::cli
