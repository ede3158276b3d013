#include "cli/command/context.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "cli/render/text.h"
#include "libs/base/strings.h"

namespace tulle::cli {

void add_mesh_option(CLI::App& command, Context& context) {
  command.add_option("--mesh", context.mesh, "the mesh to speak to")
      ->envname("TULLE_MESH")
      ->capture_default_str()
      ->type_name("NAME");
}

void add_output_option(CLI::App& command, Context& context) {
  command.add_option("-o,--output", context.output, "table, wide (more columns) or json")
      ->check(CLI::IsMember({"table", "wide", "json"}))
      ->capture_default_str()
      ->type_name("FORMAT");
}

Look terminal_look() {
  winsize size{};
  bool terminal = ::isatty(STDOUT_FILENO) == 1;
  if (terminal) ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  return look_of(terminal, std::getenv("NO_COLOR"), std::getenv("TERM"), size.ws_col, size.ws_row);
}

static void write_fd(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody reads; there is nobody to tell
    text.remove_prefix(static_cast<size_t>(n));
  }
}

void write_out(std::string_view text) { write_fd(STDOUT_FILENO, text); }
void write_err(std::string_view text) { write_fd(STDERR_FILENO, text); }

void write_table(const Context& context, const Table& table) {
  write_out(show(table, parse_output(context.output).value_or(Output::kTable), terminal_look()));
}

int report(const Error& error) {
  std::string text = "tulle: ";
  for (std::string_view line : split(trim(error.reason), '\n')) append(text, printable(line), '\n');
  write_err(text);
  switch (error.code) {
    case Code::kInvalid: return kExitUsage;
    case Code::kUnavailable: return kExitNoMesh;
    default: return kExitFailure;
  }
}

}  // namespace tulle::cli
