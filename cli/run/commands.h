// `tulle run` and `tulle check`: the commands about pods. Each adds itself to the program; its action sets
// context.exit_code. `context` outlives the app.
#pragma once

#include "cli/command/context.h"

namespace tulle::cli {

// Exit codes of `tulle run`, as env(1), timeout(1) and the like have them: all others, 1 to 3 included, are the
// application's (128 + N where signal N ended it).
inline constexpr int kExitOwnFailure = 125;   // nothing was run: asked wrongly, no mesh, no pod
inline constexpr int kExitCannotStart = 126;  // the command is there and cannot be started
inline constexpr int kExitNoSuchCommand = 127;

void add_run_command(CLI::App& app, Context& context);
void add_check_command(CLI::App& app, Context& context);

}  // namespace tulle::cli
