// What is wrong with a manifest, for the one who wrote it.
#pragma once

#include <string>

namespace tulle::control {

struct Problem {
  // kError: the document is not used. kWarning: it is used, but for the part named.
  enum class Severity : unsigned char { kError, kWarning };
  Severity severity = Severity::kError;
  std::string file;
  int line = 0;          // from 1; 0: the whole file
  std::string resource;  // "Service shop/api"; "" where it cannot be told
  std::string field;     // "spec.ports[0].port"; "" for the whole document
  std::string message;   // what was found, what is accepted

  bool is_error() const { return severity == Severity::kError; }
  // "shop.yaml:12: Service shop/api: spec.ports[0].port: found 99999; accepted: …"
  std::string to_string() const;
};

}  // namespace tulle::control
