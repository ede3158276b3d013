#include "libs/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "libs/base/fd.h"

namespace tulle {
namespace {

Error file_error(const std::string& path, int err) {
  Error e = sys_error(path, err);
  if (err == ENOENT || err == ENOTDIR) e.code = Code::kNotFound;
  return e;
}

std::string folder_of(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<> write_all(int fd, Bytes bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(file_error(path, errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t max) {
  // Non-blocking, so that a FIFO put in the place of a file cannot hold us.
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail(file_error(path, errno));
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return fail(file_error(path, errno));
  if (!S_ISREG(st.st_mode)) return fail(Code::kIo, cat(path, ": not a regular file"));
  std::string out;
  char block[64 * 1024];
  for (;;) {
    ssize_t n = read(fd.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(file_error(path, errno));
    if (n == 0) return out;
    out.append(block, static_cast<size_t>(n));
    if (out.size() > max) return fail(Code::kTooLarge, cat(path, ": more than ", max, " bytes"));
  }
}

Result<> write_file_atomic(const std::string& path, Bytes contents, mode_t mode, bool durable) {
  std::string temporary = cat(path, ".", getpid(), ".new");
  unlink(temporary.c_str());
  Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return fail(file_error(temporary, errno));
  auto give_up = [&](Error e) {
    unlink(temporary.c_str());
    return fail(std::move(e));
  };
  if (auto written = write_all(fd.get(), contents, temporary); !written) return give_up(written.error());
  if (fchmod(fd.get(), mode) != 0 || (durable && fsync(fd.get()) != 0)) return give_up(file_error(temporary, errno));
  if (rename(temporary.c_str(), path.c_str()) != 0) return give_up(file_error(path, errno));
  if (!durable) return {};
  std::string folder = folder_of(path);
  Fd dir(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || fsync(dir.get()) != 0) return fail(file_error(folder, errno));
  return {};
}

Result<> make_private_dir(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1))
    if (mkdir(path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST)
      return fail(file_error(path.substr(0, slash), errno));
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return fail(file_error(path, errno));
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) return fail(file_error(path, errno));
  if (!S_ISDIR(st.st_mode)) return fail(Code::kIo, cat(path, ": not a folder"));
  if (st.st_uid != geteuid()) return fail(Code::kIo, cat(path, ": belongs to another user (uid ", st.st_uid, ")"));
  if (chmod(path.c_str(), mode) != 0) return fail(file_error(path, errno));
  return {};
}

}  // namespace tulle
