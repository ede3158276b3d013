// The common run of `tulle stat` and `tulle edges`: scrape, work out, show; once or again and again.
#pragma once

#include <functional>
#include <string>

#include "cli/command/api.h"
#include "cli/command/context.h"
#include "cli/render/table.h"
#include "libs/base/time.h"

namespace tulle::cli {

struct ObserveOptions {
  std::string what = "service";  // service | pod
  std::string name_space;        // "": all
  std::string window = "2s";
  bool since_start = false;
  bool watch = false;

  Grain grain() const { return what.starts_with("po") ? Grain::kPod : Grain::kService; }
};
// Adds the options and the mesh and output ones. `options` outlives the command.
void add_observe_options(CLI::App& command, Context& context, ObserveOptions& options);

// Makes a table of what was seen.
using Viewer = std::function<Table(const std::vector<Scrape>&, const Inventory&)>;
// Runs until shown once, or with --watch until interrupted. Returns the exit code.
int run_observation(const Context& context, const ObserveOptions& options, const Viewer& view);

}  // namespace tulle::cli
