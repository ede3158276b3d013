// The commands of `tulle`, one file each. Each adds itself to the program; its action sets context.exit_code.
// `context` outlives the app.
#pragma once

#include "cli/command/context.h"

namespace tulle::cli {

void add_up_command(CLI::App& app, Context& context);
void add_down_command(CLI::App& app, Context& context);
void add_validate_command(CLI::App& app, Context& context);
void add_get_command(CLI::App& app, Context& context);
void add_stat_command(CLI::App& app, Context& context);
void add_edges_command(CLI::App& app, Context& context);
void add_diagnostics_command(CLI::App& app, Context& context);

}  // namespace tulle::cli
