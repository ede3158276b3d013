#include "control/source/folder.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::control {

bool Folder::is_manifest(std::string_view file) {
  if (file.starts_with('.')) return false;
  return file.ends_with(".yaml") || file.ends_with(".yml") || file.ends_with(".json");
}

std::vector<Event> Folder::update(std::string_view file, std::string_view text) {
  Parsed parsed = parse_manifest(file, text);
  File& state = files_[std::string(file)];
  state.problems = std::move(parsed.problems);
  state.stale = parsed.failed && state.good_once;
  if (state.stale) return {};
  state.good_once = !parsed.failed;
  Resources resources;
  for (Resource& r : parsed.resources) {
    ResourceKey key = key_of(r);
    resources.emplace(std::move(key), std::make_shared<const Resource>(std::move(r)));
  }
  return replace(std::string(file), std::move(resources));
}

std::vector<Event> Folder::unreadable(std::string_view file, std::string_view reason) {
  File& state = files_[std::string(file)];
  state.problems = {{Problem::Severity::kError, std::string(file), 0, "", "", std::string(reason)}};
  state.stale = state.good_once;
  return {};
}

std::vector<Event> Folder::remove(std::string_view file) {
  auto it = files_.find(file);
  if (it == files_.end()) return {};
  std::vector<Event> events = replace(it->first, {});
  files_.erase(it);
  return events;
}

void Folder::set_lost(std::string_view path, std::string_view reason) {
  lost_path_ = path;
  lost_ = reason;
}

std::vector<std::string> Folder::files() const {
  std::vector<std::string> out;
  for (const auto& [name, file] : files_) out.push_back(name);
  return out;
}

const std::shared_ptr<const Resource>& Folder::winner(const ResourceKey& key) const {
  static const std::shared_ptr<const Resource> kNone;
  auto owners = owners_.find(key);
  if (owners == owners_.end()) return kNone;
  return files_.find(*owners->second.begin())->second.resources.find(key)->second;
}

std::vector<Event> Folder::replace(const std::string& file, Resources resources) {
  Resources& now = files_[file].resources;
  std::map<ResourceKey, std::shared_ptr<const Resource>> before;
  for (const Resources* set : {&now, &resources})
    for (const auto& [key, resource] : *set) before.emplace(key, winner(key));
  for (const auto& [key, resource] : now) {
    auto owners = owners_.find(key);
    owners->second.erase(file);
    if (owners->second.empty()) owners_.erase(owners);
  }
  now = std::move(resources);
  for (const auto& [key, resource] : now) owners_[key].insert(file);
  std::vector<Event> events;
  for (auto& [key, resource] : before)
    if (const auto& after = winner(key); after != resource) events.push_back({key, after});
  return events;
}

std::vector<Problem> Folder::problems() const {
  std::vector<Problem> out;
  if (!lost_.empty())
    out.push_back({Problem::Severity::kError, lost_path_, 0, "", "",
                   cat("the folder of manifests cannot be read (", lost_,
                       "), so changes are not seen; what its files said last stays in force until it is back")});
  for (const auto& [name, file] : files_) {
    out.insert(out.end(), file.problems.begin(), file.problems.end());
    if (file.stale)
      out.push_back(
          {Problem::Severity::kWarning, name, 0, "", "", "the last good version of this file stays in force"});
    for (const auto& [key, resource] : file.resources) {
      const auto& owners = owners_.find(key)->second;
      if (*owners.begin() == name) continue;
      out.push_back({Problem::Severity::kError, name, 0, key.to_string(), "metadata.name",
                     cat("declared already in ", *owners.begin(), ", which is in force")});
    }
  }
  return out;
}

}  // namespace tulle::control
