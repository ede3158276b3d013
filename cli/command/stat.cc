// tulle stat: how each service or pod is doing.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "cli/command/commands.h"
#include "cli/command/observe_view.h"
#include "cli/command/watch.h"

namespace tulle::cli {

static Table stat_of(const ObserveOptions& options, const std::vector<Scrape>& scrapes, const Inventory& inventory) {
  bool pods = options.grain() == Grain::kPod;
  std::vector<StatRow> rows =
      stat_rows(scrapes, options.grain(), pods ? decltype(inventory.services){} : inventory.services);
  std::erase_if(rows, [&](const StatRow& row) { return !options.name_space.empty() && row.ns != options.name_space; });
  return stat_table(rows, options.grain());
}

void add_stat_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<ObserveOptions>();
  CLI::App* command = app.add_subcommand("stat", "Show success rate, request rate and latency of services or pods.");
  command->footer(
      "Of each service, as the proxies of its clients see it (the default), or of each pod, as its own proxy sees it. "
      "Two\n"
      "readings of every proxy's metrics, --time-window apart, make the figures.");
  add_observe_options(*command, context, *options);
  command->callback([options, &context] {
    context.exit_code = run_observation(context, *options, [&](const auto& scrapes, const Inventory& inventory) {
      return stat_of(*options, scrapes, inventory);
    });
  });
}

}  // namespace tulle::cli
