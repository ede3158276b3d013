#include "proxy/app/memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tulle::proxy {
namespace {

class Limit : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "tulle-memory-" + std::to_string(::getpid());
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void file(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text << "\n";
  }
  std::string root_;
};

TEST_F(Limit, OfNoGroupIsTheMachines) {
  auto limit = memory_limit(root_);
  EXPECT_EQ(limit.from, "the machine");
  EXPECT_GT(limit.bytes, 64u << 20);
}

TEST_F(Limit, OfItsOwnGroup) {
  file("/proc/self/cgroup", "0::/pods/a/proxy");
  file("/sys/fs/cgroup/pods/a/proxy/memory.max", "67108864");
  file("/sys/fs/cgroup/pods/a/memory.max", "max");
  auto limit = memory_limit(root_);
  EXPECT_EQ(limit.bytes, 64u << 20);
  EXPECT_EQ(limit.from, "/sys/fs/cgroup/pods/a/proxy/memory.max");
}

TEST_F(Limit, OfAGroupAbove) {
  file("/proc/self/cgroup", "0::/pods/a/proxy");
  file("/sys/fs/cgroup/pods/a/proxy/memory.max", "max");
  file("/sys/fs/cgroup/pods/memory.max", "50000000");
  file("/sys/fs/cgroup/pods/a/memory.max", "60000000");
  EXPECT_EQ(memory_limit(root_).bytes, 50000000u);
}

TEST_F(Limit, OfAContainerThatSeesItsGroupAsTheRoot) {
  file("/proc/self/cgroup", "0::/");
  file("/sys/fs/cgroup/memory.max", "40000000");
  EXPECT_EQ(memory_limit(root_).bytes, 40000000u);
  file("/proc/self/cgroup", "0::/../../elsewhere");
  EXPECT_EQ(memory_limit(root_).bytes, 40000000u);
}

TEST_F(Limit, OfVersion1) {
  file("/proc/self/cgroup", "12:cpu,cpuacct:/x\n9:hugetlb,memory:/docker/abc\n0::/\nnonsense");
  file("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "30000000");
  file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  auto limit = memory_limit(root_);
  EXPECT_EQ(limit.bytes, 30000000u);
  EXPECT_EQ(limit.from, "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes");
}

TEST_F(Limit, OfAFileThatSaysNothing) {
  file("/proc/self/cgroup", "0::/");
  for (const char* text : {"", "0", "-1", "lots", "99999999999999999999999"}) {
    file("/sys/fs/cgroup/memory.max", text);
    EXPECT_EQ(memory_limit(root_).from, "the machine") << text;
  }
}

WorkerThread::Holding holding(uint64_t serial, size_t bytes, size_t worker = 0) {
  WorkerThread::Holding h;
  h.of.serial = serial;
  h.of.bytes = bytes;
  h.worker = worker;
  return h;
}

std::vector<uint64_t> serials(const std::vector<WorkerThread::Holding>& all) {
  std::vector<uint64_t> out;
  for (const auto& h : all) out.push_back(h.of.serial);
  return out;
}

TEST(Shed, NothingBelowNinetyPercent) {
  EXPECT_EQ(memory_excess(0, 1000), 0u);
  EXPECT_EQ(memory_excess(900, 1000), 0u);
  EXPECT_EQ(memory_excess(901, 1000), 1u);
  EXPECT_EQ(memory_excess(5000, 1000), 4100u);
}

TEST(Shed, TheLargestFirstAndNoMoreThanNeeded) {
  std::vector<WorkerThread::Holding> all{holding(1, 100), holding(2, 300, 1), holding(3, 200), holding(4, 50)};
  EXPECT_EQ(serials(choose_shed(all, 650, 1, 1000)), (std::vector<uint64_t>{2}));
  EXPECT_EQ(serials(choose_shed(all, 650, 300, 1000)), (std::vector<uint64_t>{2}));
  EXPECT_EQ(serials(choose_shed(all, 650, 301, 1000)), (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(serials(choose_shed(all, 650, 10'000, 1000)), (std::vector<uint64_t>{2, 3, 1, 4}));
}

TEST(Shed, NobodyWhereConnectionsAreNotTheReason) {
  EXPECT_TRUE(choose_shed({holding(1, 60)}, 60, 500, 1000).empty());
  EXPECT_EQ(serials(choose_shed({holding(1, 63)}, 63, 500, 1000)), (std::vector<uint64_t>{1}));
}

TEST(Holders, TheLargestOfMany) {
  struct One final : net::Holder {
    size_t bytes;
    bool gone = false;
    explicit One(size_t b) : bytes(b) {}
    size_t held() const override { return bytes; }
    SocketAddr peer() const override { return {IpAddr::v4(10, 0, 0, 1), static_cast<uint16_t>(bytes)}; }
    void shed() override { gone = true; }
  };
  net::Holders holders;
  std::vector<std::unique_ptr<One>> all;
  for (size_t i = 0; i < 100; ++i) holders.add(*all.emplace_back(std::make_unique<One>((i * 37) % 100)));
  std::vector<net::Holders::Holding> found;
  size_t total = 0;
  holders.largest(3, 10, found, total);
  EXPECT_EQ(total, 99u * 100 / 2);
  ASSERT_EQ(found.size(), 3u);
  for (auto& h : found) EXPECT_GE(h.bytes, 97u);
  EXPECT_EQ(holders.shed(found[0].serial), found[0].bytes);
  EXPECT_FALSE(holders.shed(found[0].serial)) << "it is gone already";
  EXPECT_FALSE(holders.shed(12345));
  EXPECT_EQ(std::ranges::count_if(all, [](auto& one) { return one->gone; }), 1);
  found.clear();
  holders.largest(1000, 97, found, total);
  EXPECT_EQ(found.size(), 2u) << "of 97, 98 and 99 one has been shed";
}

}  // namespace
}  // namespace tulle::proxy
