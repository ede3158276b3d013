// YAML 1.2 documents as a plain tree that knows its lines, over yaml-cpp (which only yaml.cc sees). JSON is YAML.
// Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tulle::control {

struct YamlNode {
  enum class Kind : unsigned char { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  bool quoted = false;            // a scalar in quotes (or a block): always text
  int line = 0;                   // from 1
  std::string text;               // kScalar
  std::vector<YamlNode> items;    // kList: the items; kMap: the values
  std::vector<std::string> keys;  // kMap: the keys, in order, no two the same
  std::vector<int> key_lines;     // kMap

  bool is_map() const { return kind == Kind::kMap; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_null() const { return kind == Kind::kNull; }
  // The value of a key of a map, or null.
  const YamlNode* find(std::string_view key) const;
};

// What is wrong, and on which line (from 1; 0: the whole text).
struct YamlError {
  int line = 0;
  std::string message;
};

struct YamlLimits {
  size_t bytes = 1 << 20;
  size_t nodes = 100'000;  // after aliases are copied out, so that no alias bomb grows past it
  size_t depth = 50;
};

// All documents of a text up to the first error; empty documents are left out. `error` is set when the text is not
// wholly right: not YAML, a key twice in a map, a key that is not text, a merge key, a limit passed.
struct YamlDocuments {
  std::vector<YamlNode> documents;
  bool failed = false;
  YamlError error;
};
YamlDocuments parse_yaml(std::string_view text, const YamlLimits& limits = {});

}  // namespace tulle::control
