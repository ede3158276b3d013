// tulle down: the end of a mesh on this machine.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "cli/command/commands.h"
#include "cli/command/local_mesh.h"
#include "libs/base/strings.h"

namespace tulle::cli {

static Result<int> down(const std::string& mesh_name, bool purge) {
  TULLE_TRY(MeshPaths mesh, mesh_paths(mesh_name));
  int ended = 0;
  std::error_code ec;
  if (std::filesystem::exists(mesh.runtime, ec)) {
    TULLE_TRY_VOID(make_private_folder(mesh.runtime));  // it is ours, or nothing is touched
    ended = end_mesh(mesh);
  }
  if (purge) purge_mesh(mesh);
  return write_out(cat("Mesh ", mesh.name, ended ? " is down" : " was not up",
                       purge ? "; its keys and addresses are gone.\n" : ".\n"));
}

void add_down_command(CLI::App& app, Context& context) {
  auto purge = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("down", "End the mesh that `tulle up` has started.");
  command->footer(
      "Ends the control plane and Prometheus of this mesh, and no other process. Pods that still run go on with what "
      "they know.\n"
      "The mesh's state (keys, addresses of services, metrics) stays for the next `tulle up`.");
  command->add_flag("--purge", *purge, "remove the state too: the next `tulle up` makes a new trust root");
  add_mesh_option(*command, context);
  command->callback([purge, &context] {
    auto code = down(context.mesh, *purge);
    context.exit_code = code ? *code : report(code.error());
  });
}

}  // namespace tulle::cli
