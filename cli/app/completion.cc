#include "cli/app/completion.h"

#include <CLI/CLI.hpp>

#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

std::string flags_of(const CLI::App& command) {
  std::string out;
  for (const CLI::Option* o : command.get_options())
    for (const std::string& name : o->get_lnames()) append(out, out.empty() ? "" : " ", "--", name);
  return out;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// After `--` a program of the user's follows: its own completion is the shell's affair.
std::string bash(const CLI::App& app) {
  std::string names, cases;
  for (const CLI::App* c : commands_of(app)) {
    append(names, names.empty() ? "" : " ", c->get_name());
    std::string words = flags_of(*c);
    for (const CLI::App* sub : commands_of(*c)) append(words, " ", sub->get_name());
    append(cases, "    ", c->get_name(), ") words=\"", words, "\" ;;\n");
  }
  return cat(R"(_tulle() {
  local words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ "${COMP_WORDS[i]}" = -- ]; then
      if declare -F _command_offset >/dev/null; then _command_offset $((i + 1)); else COMPREPLY=($(compgen -c -- "$2")); fi
      return
    fi
  done
  case "${COMP_WORDS[1]}" in
)",
             cases, R"(    *) words=")", names, R"(" ;;
  esac
  [ "$COMP_CWORD" = 1 ] && words=")",
             names, R"("
  COMPREPLY=($(compgen -W "$words" -- "$2"))
}
complete -o default -F _tulle tulle
)");
}

std::string fish(const CLI::App& app) {
  std::string out = "complete -c tulle -f\n";
  for (const CLI::App* c : commands_of(app)) {
    append(out, "complete -c tulle -n __fish_use_subcommand -a ", c->get_name(), "\n");
    for (const CLI::Option* o : c->get_options())
      for (const std::string& name : o->get_lnames())
        append(out, "complete -c tulle -n '__fish_seen_subcommand_from ", c->get_name(), "' -l ", name, "\n");
  }
  return out;
}

}  // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
  if (shell == "fish") return fish(app);
  return cat(shell == "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" : "", bash(app));
}

}  // namespace tulle::cli
