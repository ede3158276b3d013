// Kubernetes-style manifests as the mesh reads them. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/source/problem.h"
#include "control/source/resource.h"

namespace tulle::control {

struct Parsed {
  std::vector<Resource> resources;  // of the documents without an error
  std::vector<Problem> problems;    // at most 1000, in order
  bool failed = false;              // a document that the mesh acts on has an error
};

// Reads one file: YAML or JSON, any number of documents, Lists included, at most 1 MiB. `file` is its name for
// messages. Strict: an unknown field or a wrong value is an error of that document; kinds that are not of the mesh,
// and parts that this version does not act on, are warnings. The same resource twice in the file is an error.
Parsed parse_manifest(std::string_view file, std::string_view text);

}  // namespace tulle::control
