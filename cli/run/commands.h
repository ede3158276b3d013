// `tulle run` and `tulle check`: the commands about pods. Each adds itself to the program; its action sets
// context.exit_code. `context` outlives the app.
#pragma once

#include "cli/command/context.h"

namespace tulle::cli {

void add_run_command(CLI::App& app, Context& context);
void add_check_command(CLI::App& app, Context& context);

}  // namespace tulle::cli
