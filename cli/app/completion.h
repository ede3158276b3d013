// Completion of commands and flags in a shell.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace tulle::cli {

// What to source in `shell`: "bash", "zsh" or "fish". Made from the commands that `app` has.
std::string completion_script(const CLI::App& app, const std::string& shell);

}  // namespace tulle::cli
