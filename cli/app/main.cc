// `tulle`: the command line. The list of what it can do.
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

#include "cli/app/completion.h"
#include "cli/command/commands.h"
#include "cli/render/text.h"
#include "cli/run/commands.h"
#include "libs/base/strings.h"

namespace {

using namespace tulle;
using namespace tulle::cli;

void add_version_command(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand("version", "Say which version this is.");
  add_output_option(command, context);
  command.callback([&context] {
    context.exit_code = write_out(context.output == "json" ? cat("{\"version\": \"", TULLE_VERSION, "\"}\n")
                                                           : cat("tulle ", TULLE_VERSION, "\n"));
  });
}

void add_completion_command(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand("completion", "Print what makes a shell complete commands and flags.");
  auto shell = std::make_shared<std::string>();
  command.add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(one_of({"bash", "zsh", "fish"}))
      ->type_name("SHELL");
  command.footer(
      "  source <(tulle completion bash)        # bash, zsh\n  tulle completion fish | source         # fish");
  command.callback([&app, &context, shell] { context.exit_code = write_out(completion_script(app, *shell)); });
}

// "-o, --output" and so on: the options of a command.
std::string accepted_options(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* o : command.get_options())
    if (o->nonpositional()) names.push_back(o->get_name(false, true));
  for (std::string& name : names)
    if (size_t comma = name.find(','); comma != name.npos) name.insert(comma + 1, " ");
  return join(names, "; ");
}

// What is wrong with the words that nothing of the command line takes, and what would be taken instead.
std::string extras_text(const CLI::App& app) {
  const CLI::App* command = &app;
  std::string path, words;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    append(path, path.empty() ? "" : " ", command->get_name());
  }
  std::vector<std::string> extras = app.remaining(true), long_names;
  const std::string extra = extras.empty() ? "" : extras.front();
  for (const CLI::Option* o : command->get_options())
    if (o->get_positional()) append(words, words.empty() ? "" : " ", o->get_type_name());
    else
      for (const std::string& name : o->get_lnames()) long_names.push_back(cat("--", name));
  if (!extra.starts_with('-') || extra == "-")
    return cat(path, ": found ", tulle::quoted(extra), "; accepted: ", words.empty() ? "" : cat(words, " and "),
               "options (", accepted_options(*command), ")");
  std::string meant = nearest_word(extra.substr(0, extra.find('=')), long_names);
  return cat(path, ": there is no option ", extra, meant.empty() ? "" : cat("; did you mean ", meant, "?"),
             "\nAccepted: ", accepted_options(*command));
}

// `tulle run` reads its own options up to the program's name; what follows is the program's. Puts "--" there, which is
// where CLI11 stops. Error: an option before it that `run` does not have.
Result<> separate_program(const CLI::App& run, std::vector<std::string>& args) {
  if (args.empty() || args[0] != "run") return {};
  for (size_t i = 1; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--") return {};
    if (arg.size() < 2 || arg[0] != '-') {
      args.insert(args.begin() + static_cast<std::ptrdiff_t>(i), "--");
      return {};
    }
    bool is_long = arg.starts_with("--");
    std::string name = is_long ? arg.substr(0, arg.find('=')) : arg.substr(0, 2);
    const CLI::Option* option = run.get_option_no_throw(name);
    if (!option)
      return fail(Code::kInvalid, cat("run: there is no option ", name,
                                      "; an option of the program's own goes after its name, or after --\nAccepted: ",
                                      accepted_options(run)));
    bool takes_value = option->get_items_expected_max() > 0;
    bool has_value = is_long ? arg.contains('=') : arg.size() > 2;
    if (takes_value && !has_value) ++i;
  }
  return {};
}

// That `word`, after `path` ("", or "NAME: " of a command with commands of its own), is a command. Error: it names the
// word and the one that was probably meant.
Result<> check_command(const CLI::App& parent, std::string_view path, const std::string* word) {
  std::vector<std::string> names, all;
  for (const CLI::App* c : parent.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(c->get_name());
    all.push_back(c->get_name());
    for (const std::string& alias : c->get_aliases()) all.push_back(alias);
  }
  if (!word) return fail(Code::kInvalid, cat(path, "a command is missing; accepted: ", join(names, ", ")));
  if (word->starts_with('-') || std::ranges::find(all, *word) != all.end()) return {};
  std::string meant = nearest_word(*word, names);
  return fail(Code::kInvalid,
              cat(path, "there is no command ", tulle::quoted(*word),
                  meant.empty() ? "" : cat("; did you mean ", meant, "?"), "\nCommands: ", join(names, ", ")));
}

Result<> check_commands(const CLI::App& app, const std::vector<std::string>& args) {
  TULLE_TRY_VOID(check_command(app, "", args.empty() ? nullptr : &args[0]));
  for (const CLI::App* group : app.get_subcommands([&](const CLI::App* c) { return c->check_name(args[0]); }))
    if (group->get_require_subcommand_min() > 0)
      return check_command(*group, cat(group->get_name(), ": "), args.size() < 2 ? nullptr : &args[1]);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  Context context;
  CLI::App app(
      "Tulle is a service mesh: it makes the traffic between services safe, fast, reliable and visible\n"
      "without changing the services.\n\n"
      "  tulle up                                        # start a mesh on this machine\n"
      "  tulle run --service hello --port 8000 -- python3 -m http.server 8000\n"
      "  tulle run -- curl http://hello:8000/             # in another terminal\n"
      "  tulle edges                                     # who talked to whom");
  app.name("tulle");
  app.require_subcommand(1);
  app.set_version_flag("--version", cat("tulle ", TULLE_VERSION));
  app.footer(
      "`tulle COMMAND --help` says more. Exit codes: 0 done, 1 could not be done, 2 asked wrongly, 3 the mesh is not "
      "up;\n"
      "`tulle run` gives its program's, or 125 where it could not run it or was asked wrongly.");
  add_up_command(app, context);
  add_down_command(app, context);
  add_run_command(app, context);
  add_get_command(app, context);
  add_stat_command(app, context);
  add_edges_command(app, context);
  add_diagnostics_command(app, context);
  add_validate_command(app, context);
  add_check_command(app, context);
  add_version_command(app, context);
  add_completion_command(app, context);
  std::vector<std::string> args(argv + 1, argv + argc);
  // What `tulle run` is asked wrongly must not look like an answer of its program.
  const int wrong = !args.empty() && args[0] == "run" ? kExitOwnFailure : kExitUsage;
  try {
    if (auto r = check_commands(app, args); !r) throw CLI::ExtrasError(r.error().reason, CLI::ExitCodes::ExtrasError);
    if (auto r = separate_program(*app.get_subcommand("run"), args); !r)
      throw CLI::ExtrasError(r.error().reason, CLI::ExitCodes::ExtrasError);
    std::ranges::reverse(args);  // as CLI11 takes them
    try {
      app.parse(std::move(args));
    } catch (const CLI::ExtrasError&) {
      throw CLI::ExtrasError(extras_text(app), CLI::ExitCodes::ExtrasError);
    }
  } catch (const CLI::ParseError& e) {
    std::ostringstream out, err;
    bool asked_rightly = app.exit(e, out, err) == 0;  // --help
    if (!err.str().empty()) write_err(cat("tulle: ", err.str()));
    if (write_out(out.str()) != kExitOk) return wrong == kExitUsage ? kExitFailure : wrong;
    return asked_rightly ? kExitOk : wrong;
  }
  return context.exit_code;
}
