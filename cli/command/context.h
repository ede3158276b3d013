// What every command of `tulle` shares: the mesh it speaks to and how its output is written.
#pragma once

#include <string>
#include <string_view>

#include "cli/render/table.h"
#include "libs/base/result.h"

namespace CLI {
class App;
}

namespace tulle::cli {

// Exit codes of every command (docs/cli.md).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // it was asked rightly and could not be done, or what was checked is not right
inline constexpr int kExitUsage = 2;    // it was asked wrongly
inline constexpr int kExitNoMesh = 3;   // the mesh is not up

// Owned by main; filled while the command line is parsed. A command's action sets exit_code.
struct Context {
  std::string mesh = "local";
  std::string output = "table";
  int exit_code = kExitOk;
};

// Adds --mesh (and $TULLE_MESH) to a command.
void add_mesh_option(CLI::App& command, Context& context);
// Adds -o/--output table|wide|json.
void add_output_option(CLI::App& command, Context& context);

// What standard output can show.
Look terminal_look();
// Writes to standard output or standard error, in whole.
void write_out(std::string_view text);
void write_err(std::string_view text);
// Writes a table as the context's --output asks for.
void write_table(const Context& context, const Table& table);
// Says "tulle: REASON" on standard error and returns the exit code of that error.
int report(const Error& error);

}  // namespace tulle::cli
