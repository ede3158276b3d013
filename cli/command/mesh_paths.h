// Where a local mesh keeps its things (DESIGN §7.9). Pure but for make_private_folder.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace tulle::cli {

struct MeshPaths {
  std::string name;
  std::string runtime;  // folder of the running mesh: sockets, pid files, logs; gone after `tulle down`
  std::string socket;   // the control plane's: HTTP/1.1, JSON
  std::string state;    // folder of what lasts: keys and the addresses of services

  std::string in_runtime(std::string_view file) const { return runtime + "/" + std::string(file); }
};

// `name`: 1–40 of a–z, 0–9 and '-', as in a DNS label. `env` gives an environment variable, "" where unset: the
// runtime folder is $XDG_RUNTIME_DIR/tulle/NAME or /tmp/tulle-UID/NAME; the state folder $XDG_STATE_HOME/tulle/NAME or
// ~/.local/state/tulle/NAME.
Result<MeshPaths> mesh_paths(std::string_view name, unsigned uid, const std::function<std::string(const char*)>& env);
// For this user and the environment of this process.
Result<MeshPaths> mesh_paths(std::string_view name);

// Makes a folder of mode 0700 and its parents; an existing one must be a folder of this user that nobody else may
// write to (else anybody could put a socket of his in it).
Result<> make_private_folder(const std::string& path);

// The folder of the running program, for its siblings: tulle-control, tulle-proxy.
Result<std::string> program_folder();

}  // namespace tulle::cli
