// tulle edges: who talks to whom, and whether it is secured.
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/command/commands.h"
#include "cli/command/observe_view.h"
#include "cli/command/watch.h"

namespace tulle::cli {

static Table edges_of(const ObserveOptions& options, const std::vector<Scrape>& scrapes, const Inventory& inventory) {
  std::vector<EdgeRow> rows = edge_rows(scrapes, options.grain(), inventory.ended);
  std::erase_if(rows, [&](const EdgeRow& row) {
    return !options.name_space.empty() && row.src_ns != options.name_space && row.dst_ns != options.name_space;
  });
  return edge_table(rows);
}

void add_edges_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<ObserveOptions>();
  CLI::App* command = app.add_subcommand("edges", "Show who talks to whom, whether it is secured, and how it goes.");
  command->footer(
      "Client and server, whether their connection is mutual TLS (or why not), and success rate, request rate and "
      "latency as\n"
      "the client's proxy sees them. An edge is listed from its first use on; its figures are of the time looked at. A "
      "client\n"
      "without a proxy is (unmeshed); one that has ended keeps its name where its service account was its own.");
  add_observe_options(*command, context, *options);
  command->callback([options, &context] {
    context.exit_code = run_observation(context, *options, [&](const auto& scrapes, const Inventory& inventory) {
      return edges_of(*options, scrapes, inventory);
    });
  });
}

}  // namespace tulle::cli
