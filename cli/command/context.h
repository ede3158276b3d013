// What every command of `tulle` shares: the mesh it speaks to and how its output is written.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/render/table.h"
#include "libs/base/result.h"

namespace CLI {
class App;
}

namespace tulle::cli {

// Exit codes of every command but `tulle run` (docs/cli.md).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // it was asked rightly and could not be done, or what was checked is not right
inline constexpr int kExitUsage = 2;    // it was asked wrongly
inline constexpr int kExitNoMesh = 3;   // the mesh is not up

// $TULLE_MESH, or "local" where that is unset or empty.
std::string default_mesh();

// Owned by main; filled while the command line is parsed. A command's action sets exit_code.
struct Context {
  std::string mesh = default_mesh();  // --mesh, where it is given, wins
  std::string output = "table";
  int exit_code = kExitOk;
};

// A check of an option's value for CLI11: what is wrong with it, "" when nothing is.
using Check = std::function<std::string(const std::string&)>;
// One of these words.
Check one_of(std::vector<std::string> words);
// A name as Kubernetes has them (a DNS label): 1–63 of a–z, 0–9 and '-'.
Check a_name();

// Adds --mesh to a command.
void add_mesh_option(CLI::App& command, Context& context);
// Adds -o/--output table|wide|json.
void add_output_option(CLI::App& command, Context& context);
// Adds -n/--namespace, which narrows what is shown. `name_space` outlives the command.
void add_namespace_option(CLI::App& command, std::string& name_space);

// What standard output can show.
Look terminal_look();
// Writes to standard output, in whole. Returns the exit code: kExitFailure where that could not be done (a full disk),
// which is then said on standard error; a reader that has gone (a closed pipe) says nothing.
[[nodiscard]] int write_out(std::string_view text);
void write_err(std::string_view text);
// Writes a table as the context's --output asks for; returns as write_out() does.
[[nodiscard]] int write_table(const Context& context, const Table& table);
// Says "tulle: REASON" on standard error and returns the exit code of that error.
int report(const Error& error);

}  // namespace tulle::cli
