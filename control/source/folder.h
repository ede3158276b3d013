// The manifests of a folder, kept as what each file last said rightly. Pure: it is told of files and gives events;
// FolderWatch does the reading. Single-threaded.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control/source/manifest.h"
#include "control/source/problem.h"
#include "control/source/resource.h"

namespace tulle::control {

// A file with an error keeps its last good version, whole, and its problems say why. Where there is none (it was never
// right), its good documents count: something is better than nothing after a restart.
// A resource in several files: the file that comes first by name has it, the others are told.
class Folder {
 public:
  // The content of a file that is new or has changed.
  std::vector<Event> update(std::string_view file, std::string_view text);
  // A file that cannot be read: as one with an error.
  std::vector<Event> unreadable(std::string_view file, std::string_view reason);
  // A file that is gone.
  std::vector<Event> remove(std::string_view file);
  // The folder itself, at `path`, cannot be read, and why: what its files said stays. "": it can be again.
  void set_lost(std::string_view path, std::string_view reason);
  // The files that were told and not removed.
  std::vector<std::string> files() const;

  // All that is wrong now, by file and line.
  std::vector<Problem> problems() const;
  size_t size() const { return owners_.size(); }

  // Whether a file of that name is read: *.yaml, *.yml, *.json, and not hidden.
  static bool is_manifest(std::string_view file);

 private:
  using Resources = std::map<ResourceKey, std::shared_ptr<const Resource>>;
  struct File {
    Resources resources;
    std::vector<Problem> problems;
    bool good_once = false;
    bool stale = false;  // the resources are those of an earlier version
  };
  std::vector<Event> replace(const std::string& file, Resources resources);
  const std::shared_ptr<const Resource>& winner(const ResourceKey& key) const;

  std::string lost_path_, lost_;
  std::map<std::string, File, std::less<>> files_;
  std::map<ResourceKey, std::set<std::string>> owners_;
};

}  // namespace tulle::control
