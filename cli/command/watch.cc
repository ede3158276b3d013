#include "cli/command/watch.h"

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "cli/render/text.h"
#include "libs/base/strings.h"

namespace tulle::cli {

void add_observe_options(CLI::App& command, Context& context, ObserveOptions& options) {
  command.add_option("what", options.what, "service (default) or pod")
      ->check(one_of({"service", "pod", "services", "svc", "pods", "po"}))
      ->type_name("WHAT");
  add_namespace_option(command, options.name_space);
  command.add_option("-t,--time-window", options.window, "how long to look, such as 500ms, 10s, 1m")
      ->capture_default_str()
      ->type_name("DURATION");
  command.add_flag("--since-start", options.since_start, "averages since each proxy started, shown at once");
  command.add_flag("-w,--watch", options.watch, "go on, until interrupted");
  add_mesh_option(command, context);
  add_output_option(command, context);
}

static Result<Table> observe_once(const MeshPaths& mesh, const ObserveOptions& options, Duration window,
                                  const Viewer& view) {
  TULLE_TRY(Inventory inventory, take_inventory(mesh));
  Observation seen = observe_pods(inventory.pods, window);
  for (const std::string& who : seen.unreachable) write_err(cat("tulle: no metrics of ", printable(who), "\n"));
  return view(seen.scrapes, inventory);
}

int run_observation(const Context& context, const ObserveOptions& options, const Viewer& view) {
  auto window = parse_duration(options.window);
  if (!window) return report(std::move(window.error()).with("--time-window"));
  if (*window < 100ms || *window > 24h) return report(Error(Code::kInvalid, "--time-window: 100ms to 24h is accepted"));
  auto mesh = mesh_paths(context.mesh);
  if (!mesh) return report(mesh.error());
  std::string drawn;
  while (true) {
    auto table = observe_once(*mesh, options, options.since_start ? 0s : *window, view);
    if (!table) return report(table.error());
    if (!options.watch) return write_table(context, *table);
    Output output = parse_output(context.output).value_or(Output::kTable);
    Look look = terminal_look();
    std::string text = show(*table, output, look);
    bool redrawn = ::isatty(STDOUT_FILENO) == 1 && output != Output::kJson;
    if (int code = write_out(redrawn ? redraw(drawn, text, look) : text); code != kExitOk) return code;
    drawn = std::move(text);
    if (options.since_start) ::usleep(1'000'000);
  }
}

}  // namespace tulle::cli
