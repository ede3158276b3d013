#include "control/api/workload_files.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "control/source/fields.h"
#include "libs/base/file.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr std::string_view kRunning = ".pid";
constexpr size_t kMaxFiles = 200'000;

bool lives(int64_t pid) { return pid > 0 && (kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM); }

}  // namespace

std::string WorkloadFiles::path(const Ref& w, std::string_view suffix) const {
  return cat(folder_, "/", w.ns, ".", w.name, suffix);
}

Result<> WorkloadFiles::write(const Ref& w, int64_t pid, std::string_view token) {
  TULLE_TRY_VOID(make_private_dir(folder_));
  TULLE_TRY_VOID(write_token(w, token));
  return write_file_atomic(path(w, kRunning), cat(pid, "\n"), 0600, false);
}

Result<> WorkloadFiles::write_token(const Ref& w, std::string_view token) {
  return write_file_atomic(token_path(w), token, 0600, false);
}

void WorkloadFiles::remove(const Ref& w) {
  unlink(path(w, kRunning).c_str());
  unlink(token_path(w).c_str());
}

std::vector<Ref> WorkloadFiles::survivors() {
  std::vector<Ref> out;
  std::vector<std::string> all;
  std::error_code ec;
  for (auto it = std::filesystem::directory_iterator(folder_, ec); !ec && it != std::filesystem::directory_iterator();
       it.increment(ec))
    if (all.size() < kMaxFiles) all.push_back(it->path().filename().string());
  for (const std::string& file : all) {
    if (!file.ends_with(kRunning)) continue;
    auto parts = split(std::string_view(file).substr(0, file.size() - kRunning.size()), '.');
    if (parts.size() != 2 || !is_dns_label(parts[0]) || !is_dns_label(parts[1])) continue;
    Ref ref{std::string(parts[0]), std::string(parts[1])};
    auto text = read_file(path(ref, kRunning), 100);
    auto pid = text ? parse_number<uint32_t>(trim(*text)) : std::nullopt;
    if (pid && lives(*pid)) out.push_back(std::move(ref));
    else remove(ref);
  }
  return out;
}

}  // namespace tulle::control
