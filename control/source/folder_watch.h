// Keeps a Folder up to date with a folder of the file system, by inotify. Belongs to one reactor.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "control/source/folder.h"
#include "libs/base/fd.h"
#include "libs/rt/reactor.h"

namespace tulle::control {

// Files are read when they are closed after writing or moved into place, 20 ms after the first such event, so that an
// editor's steps count as one. When the folder goes away, all it said stays, Folder::problems() says so, and it is
// looked for each second. Subfolders are not read.
class FolderWatch final : private rt::FdHandler, private rt::Timer {
 public:
  // Watches `path` and reads what is there; `on_events` gets the events, from then on too, on the reactor's thread;
  // none where only the problems have changed.
  // `folder` outlives this. Error: there is no such folder, or it cannot be watched.
  static Result<std::unique_ptr<FolderWatch>> open(rt::Reactor& reactor, std::string path, Folder& folder,
                                                   std::function<void(std::vector<Event>)> on_events);
  ~FolderWatch();

 private:
  FolderWatch(rt::Reactor& reactor, std::string path, Folder& folder,
              std::function<void(std::vector<Event>)> on_events);
  Result<> start();
  void stop();
  Result<> scan(std::vector<Event>& events);
  void read(const std::string& file, std::vector<Event>& events);
  void on_ready(uint32_t) override;
  void on_timer() override;

  rt::Reactor& reactor_;
  std::string path_;
  Folder& folder_;
  std::function<void(std::vector<Event>)> on_events_;
  Fd inotify_;
  bool all_ = false;  // read the whole folder anew
  bool lost_ = false;
  std::set<std::string> changed_;
};

}  // namespace tulle::control
