#include "cli/command/context.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/render/text.h"
#include "control/source/fields.h"
#include "libs/base/strings.h"

namespace tulle::cli {

static constexpr const char* kMeshVariable = "TULLE_MESH";

Check one_of(std::vector<std::string> words) {
  return [words = std::move(words)](const std::string& text) -> std::string {
    if (std::ranges::find(words, text) != words.end()) return "";
    return cat("found ", tulle::quoted(text), "; accepted: ", join(words, ", "));
  };
}

Check a_name() {
  return [](const std::string& text) -> std::string {
    if (control::is_dns_label(text)) return "";
    return cat("found ", tulle::quoted(text), "; accepted: 1 to 63 of a–z, 0–9 and '-', no '-' at either end");
  };
}

// CLI11's own envname() would set it again for each command that is not the one asked for, over the flag.
std::string default_mesh() {
  const char* given = std::getenv(kMeshVariable);
  return given && *given ? given : "local";
}

void add_mesh_option(CLI::App& command, Context& context) {
  command.add_option("--mesh", context.mesh, cat("the mesh to speak to; ", kMeshVariable, " sets the default"))
      ->capture_default_str()
      ->type_name("NAME");
}

void add_output_option(CLI::App& command, Context& context) {
  command.add_option("-o,--output", context.output, "table, wide (more columns) or json")
      ->check(one_of({"table", "wide", "json"}))
      ->capture_default_str()
      ->type_name("FORMAT");
}

void add_namespace_option(CLI::App& command, std::string& name_space) {
  command.add_option("-n,--namespace", name_space, "only this namespace")->check(a_name())->type_name("NAMESPACE");
}

Look terminal_look() {
  winsize size{};
  bool terminal = ::isatty(STDOUT_FILENO) == 1;
  if (terminal) ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  return look_of(terminal, std::getenv("NO_COLOR"), std::getenv("TERM"), size.ws_col, size.ws_row);
}

// 0, or the errno of what failed.
static int write_fd(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

int write_out(std::string_view text) {
  int err = write_fd(STDOUT_FILENO, text);
  if (err != 0 && err != EPIPE) write_err(cat("tulle: writing to standard output: ", std::strerror(err), "\n"));
  return err == 0 ? kExitOk : kExitFailure;
}
void write_err(std::string_view text) { (void)write_fd(STDERR_FILENO, text); }  // there is nobody left to tell

int write_table(const Context& context, const Table& table) {
  return write_out(show(table, parse_output(context.output).value_or(Output::kTable), terminal_look()));
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
