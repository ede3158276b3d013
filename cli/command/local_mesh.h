// The parts that `tulle up` and `tulle down` share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command/mesh_paths.h"
#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::cli {

std::string control_log(const MeshPaths& mesh);

// The full path of another program of Tulle: beside this one, else in PATH.
Result<std::string> sibling_program(std::string_view name);

// Ends the programs of the mesh that its pid files name and are still alive; returns how many.
int end_programs(const MeshPaths& mesh);
// The same after a failure: what running pods need stays for the next `tulle up`, and what is there to be read; empty
// folders go.
void abandon_mesh(const MeshPaths& mesh);
// The same, and removes the runtime folder.
int end_mesh(const MeshPaths& mesh);

// Removes the state folder.
void purge_mesh(const MeshPaths& mesh);

// The text of DIR/example.yaml: all of it commented out.
const char* example_manifest();

// Where the control plane lists its pods for Prometheus (its http_sd format), from the answer of /v1/mesh; "" where it
// does not say.
std::string targets_url(std::string_view mesh_json);
// Prometheus' configuration: the pods that the control plane lists at `targets_url`. Pure.
std::string prometheus_config(std::string_view targets_url);

// What `tulle up` was asked for; nothing where the flag was not given.
struct Wishes {
  std::optional<std::string> dir;  // full path
  std::optional<std::string> default_policy;
  std::optional<std::string> log_level;
  std::optional<Duration> identity_lifetime;
  bool foreground = false;
  bool no_prometheus = false;
};
// The wishes that a running mesh does not fulfil, a line each: "--dir /a: it reads /b". `mesh_json`: the answer of
// /v1/mesh; `prometheus`: one runs. Pure.
std::vector<std::string> differences(const Wishes& wishes, std::string_view mesh_json, bool prometheus);

}  // namespace tulle::cli
