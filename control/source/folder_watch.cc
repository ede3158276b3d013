#include "control/source/folder_watch.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "libs/base/file.h"
#include "libs/base/log.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {
constexpr Duration kSettle = 20ms;
constexpr Duration kRetry = 1s;
constexpr size_t kMaxFile = 1 << 20;
constexpr size_t kMaxFiles = 10'000;
constexpr uint32_t kEvents =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR;
}  // namespace

FolderWatch::FolderWatch(rt::Reactor& reactor, std::string path, Folder& folder,
                         std::function<void(std::vector<Event>)> on_events)
    : rt::Timer(reactor),
      reactor_(reactor),
      path_(std::move(path)),
      folder_(folder),
      on_events_(std::move(on_events)) {}

FolderWatch::~FolderWatch() { stop(); }

Result<std::unique_ptr<FolderWatch>> FolderWatch::open(rt::Reactor& reactor, std::string path, Folder& folder,
                                                       std::function<void(std::vector<Event>)> on_events) {
  std::unique_ptr<FolderWatch> out(new FolderWatch(reactor, std::move(path), folder, std::move(on_events)));
  TULLE_TRY_VOID(out->start());
  return out;
}

// The watch comes before the first reading, so that nothing is missed between.
Result<> FolderWatch::start() {
  inotify_ = Fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_) return fail(sys_error("inotify_init1", errno));
  if (inotify_add_watch(inotify_.get(), path_.c_str(), kEvents) < 0) {
    int err = errno;
    inotify_.reset();
    return fail(sys_error(cat("watching ", path_), err));
  }
  std::vector<Event> events;
  TULLE_TRY_VOID(scan(events));
  TULLE_TRY_VOID(reactor_.watch(inotify_.get(), *this));
  if (!events.empty()) on_events_(std::move(events));
  return {};
}

void FolderWatch::stop() {
  if (inotify_) reactor_.forget(inotify_.get(), *this);
  inotify_.reset();
}

Result<> FolderWatch::scan(std::vector<Event>& events) {
  DIR* dir = opendir(path_.c_str());
  if (!dir) return fail(sys_error(path_, errno));
  std::set<std::string> found;
  while (const dirent* entry = readdir(dir))
    if (Folder::is_manifest(entry->d_name) && found.size() < kMaxFiles) found.insert(entry->d_name);
  closedir(dir);
  for (const std::string& file : folder_.files())
    if (!found.contains(file)) found.insert(file);
  for (const std::string& file : found) read(file, events);
  return {};
}

void FolderWatch::read(const std::string& file, std::vector<Event>& events) {
  auto text = read_file(cat(path_, "/", file), kMaxFile);
  std::vector<Event> now;
  if (text) now = folder_.update(file, *text);
  else if (text.error().code == Code::kNotFound) now = folder_.remove(file);
  else now = folder_.unreadable(file, text.error().reason);
  events.insert(events.end(), std::make_move_iterator(now.begin()), std::make_move_iterator(now.end()));
}

void FolderWatch::on_ready(uint32_t) {
  alignas(inotify_event) char block[16 * 1024];
  for (;;) {
    ssize_t n = ::read(inotify_.get(), block, sizeof block);
    if (n <= 0) break;
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(block + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) lost_ = true;
      if (event->mask & IN_Q_OVERFLOW) all_ = true;
      if (event->len > 0 && Folder::is_manifest(event->name)) changed_.insert(event->name);
    }
  }
  if (!armed() && (lost_ || all_ || !changed_.empty())) arm(reactor_.now() + kSettle);
}

void FolderWatch::on_timer() {
  if (lost_) {
    stop();
    if (auto started = start(); !started) {
      folder_.set_lost(path_, started.error().reason);
      on_events_({});
      return arm(reactor_.now() + kRetry);
    }
    log_info("the folder of manifests is back", {{"folder", path_}});
    folder_.set_lost("", "");
    lost_ = all_ = false;
    changed_.clear();
    on_events_({});
    return;
  }
  std::vector<Event> events;
  if (all_) {
    if (auto done = scan(events); !done) lost_ = true;
  } else {
    for (const std::string& file : changed_) read(file, events);
  }
  all_ = false;
  changed_.clear();
  if (lost_) arm(reactor_.now() + kRetry);
  on_events_(std::move(events));
}

}  // namespace tulle::control
