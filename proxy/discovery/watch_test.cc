#include "proxy/discovery/watch.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tulle::proxy {
namespace {

using Hub = WatchHub<int, int>;
using Cache = WatchCache<int, int>;

constexpr observe::Family kEvicted{"evicted_total", "Evicted.", observe::Type::kCounter, observe::Format::kText, {}};

struct Fixture {
  rt::Reactor reactor{1};
  observe::Registry registry;
  observe::Shard& shard = registry.add_shard();
  observe::CounterRef evicted = shard.counter(kEvicted);
  std::vector<int> open;  // keys whose stream runs
  Hub hub{reactor, [this](int key, Hub::Publish publish) { return stream(reactor, open, key, std::move(publish)); }};

  static rt::Task<void> stream(rt::Reactor& reactor, std::vector<int>& open, int key, Hub::Publish publish) {
    struct Open {
      std::vector<int>& keys;
      int key;
      Open(std::vector<int>& k, int i) : keys(k), key(i) { keys.push_back(key); }
      ~Open() { std::erase(keys, key); }
    } here(open, key);
    publish(std::make_shared<const int>(key * 10));
    rt::Signal never(reactor);
    co_await never.wait();
  }
  void turn() {
    for (int i = 0; i < 5; ++i) reactor.turn(0ms);
  }
  std::vector<int> streams() {
    turn();
    std::ranges::sort(open);
    return open;
  }
};

TEST(WatchCache, AFullOneForgetsWhatIsUnusedForLongest) {
  Fixture f;
  Cache cache(f.reactor, f.hub, 1h, 3, f.evicted);
  auto used = cache.get(1);
  cache.get(2), cache.get(3);  // used and let go, in this order
  EXPECT_EQ(f.streams(), (std::vector{1, 2, 3}));
  cache.get(2);  // 3 is the oldest now
  auto four = cache.get(4);
  EXPECT_EQ(f.streams(), (std::vector{1, 2, 4}));
  EXPECT_EQ(*used.value(), 10);
  EXPECT_EQ(*four.value(), 40);
  auto two = cache.get(2), five = cache.get(5);
  EXPECT_EQ(f.streams(), (std::vector{1, 2, 4, 5})) << "what is in use stays, whatever the number";
  EXPECT_EQ(cache.size(), 4u);
  EXPECT_TRUE(f.registry.render().contains("evicted_total 1\n"));
}

TEST(WatchCache, UnusedKeysGoAfterTheIdleTime) {
  Fixture f;
  Cache cache(f.reactor, f.hub, 10s);
  cache.get(1);
  auto used = cache.get(2);
  TimePoint now = f.reactor.now();
  cache.sweep(now + 9s);
  EXPECT_EQ(f.streams(), (std::vector{1, 2}));
  cache.sweep(now + 11s);
  EXPECT_EQ(f.streams(), std::vector{2});
}

}  // namespace
}  // namespace tulle::proxy
