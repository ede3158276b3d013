#include "libs/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace tulle {
namespace {

TEST(File, WritesWholeAndReadsBack) {
  char folder[] = "/tmp/tulle-file-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  std::string path = cat(folder, "/a");
  EXPECT_EQ(read_file(path, 10).error().code, Code::kNotFound);
  ASSERT_TRUE(write_file_atomic(path, "one", 0600));
  ASSERT_TRUE(write_file_atomic(path, "two", 0600));
  EXPECT_EQ(*read_file(path, 3), "two");
  EXPECT_EQ(read_file(path, 2).error().code, Code::kTooLarge);
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_EQ(read_file(folder, 10).error().code, Code::kIo);
  EXPECT_FALSE(write_file_atomic(cat(folder, "/nix/a"), "x", 0600));
  ASSERT_TRUE(make_private_dir(cat(folder, "/b/c")));
  ASSERT_EQ(stat(cat(folder, "/b/c").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
  ASSERT_TRUE(make_private_dir(cat(folder, "/b/c")));
  EXPECT_FALSE(make_private_dir(path));
  unlink(path.c_str());
  rmdir(cat(folder, "/b/c").c_str());
  rmdir(cat(folder, "/b").c_str());
  rmdir(folder);
}

}  // namespace
}  // namespace tulle
