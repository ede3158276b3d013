#include "control/source/workloads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace tulle::control {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

struct Addresses : AddressSource {
  uint8_t next = 1;
  std::set<IpAddr> used;
  Result<IpAddr> take_next() override {
    IpAddr ip = IpAddr::v4(127, 64, 0, next++);
    used.insert(ip);
    return ip;
  }
  bool take(IpAddr ip) override { return used.insert(ip).second; }
  void release(IpAddr ip) override { used.erase(ip); }
};

struct WorkloadsTest : testing::Test {
  Addresses addresses;
  Workloads w{{}, addresses, Rng(1)};
  TimePoint now{};
  std::vector<Event> events;

  RegisterRequest api(std::string name = "") {
    RegisterRequest r;
    r.name = std::move(name);
    r.service = "api";
    r.ports = {{"http", 80, 0}, {"alt", 20080, 0}, {"own", 4191, 0}, {"", 9000, 0}};
    return r;
  }
};

TEST_F(WorkloadsTest, BecomePods) {
  const Workload* x = w.add(api(), now, events).value();
  EXPECT_THAT(x->pod->meta.name, StartsWith("api-"));
  EXPECT_EQ(x->pod->meta.labels.at("app"), "api");
  EXPECT_EQ(x->pod->ports[0].served, 20080);
  EXPECT_EQ(x->pod->ports[1].served, 20081);
  EXPECT_EQ(x->pod->ports[2].served, 24191);
  EXPECT_EQ(x->pod->ports[3].served, 9000);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_FALSE(std::get<Pod>(*events[0].resource).ready);
  ASSERT_TRUE(w.set_ready(x->id, true, events));
  ASSERT_TRUE(w.set_ready(x->id, true, events));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_TRUE(std::get<Pod>(*events[1].resource).ready);
  std::string id = x->id;
  w.remove(id, events);
  EXPECT_EQ(events.back().resource, nullptr);
  EXPECT_THAT(addresses.used, IsEmpty());
  EXPECT_EQ(w.set_ready(id, true, events).error().code, Code::kNotFound);
}

TEST_F(WorkloadsTest, KeepNameAndAddressOverARestart) {
  RegisterRequest r = api("api-1");
  r.address = IpAddr::v4(127, 64, 0, 9);
  r.ready = true;
  const Workload* x = w.add(r, now, events).value();
  EXPECT_EQ(x->pod->address, *r.address);
  EXPECT_TRUE(x->pod->ready);
  // Not held: the newcomer of that name takes over. Held: it does not.
  const Workload* y = w.add(r, now, events).value();
  EXPECT_EQ(y->pod->address, *r.address);
  EXPECT_EQ(w.size(), 1u);
  ASSERT_TRUE(w.hold(y->id));
  EXPECT_EQ(w.hold(y->id).error().code, Code::kDenied);
  EXPECT_EQ(w.add(r, now, events).error().code, Code::kDenied);
  r.name = "api-2";
  EXPECT_EQ(w.add(r, now, events).value()->pod->address.to_string(), "127.64.0.1");
}

TEST_F(WorkloadsTest, MustBeHeld) {
  std::string a = w.add(api("a"), now, events).value()->id;
  std::string b = w.add(api("b"), now, events).value()->id;
  ASSERT_TRUE(w.hold(a));
  EXPECT_THAT(w.not_held(now + 9s), IsEmpty());
  EXPECT_THAT(w.not_held(now + 10s), testing::ElementsAre(b));
}

TEST_F(WorkloadsTest, MoveToAnotherAddress) {
  const Workload* x = w.add(api("a"), now, events).value();
  EXPECT_EQ(w.move(x->id, events).value()->pod->address.to_string(), "127.64.0.2");
  EXPECT_EQ(addresses.used.size(), 1u);
  EXPECT_EQ(std::get<Pod>(*events.back().resource).address.to_string(), "127.64.0.2");
}

TEST_F(WorkloadsTest, SayWhatIsWrong) {
  auto reason = [&](auto change) {
    RegisterRequest r = api();
    change(r);
    auto out = w.add(r, now, events);
    return out ? std::string("ok") : out.error().reason;
  };
  EXPECT_THAT(reason([](auto& r) { r.name = "A_b"; }), HasSubstr("name: found \"A_b\"; accepted: a-z"));
  EXPECT_THAT(reason([](auto& r) { r.ns = ""; }), HasSubstr("namespace"));
  EXPECT_THAT(reason([](auto& r) { r.service = "a.b"; }), HasSubstr("service"));
  EXPECT_THAT(reason([](auto& r) { r.ports[1].port = 80; }), HasSubstr("each port once"));
  EXPECT_THAT(reason([](auto& r) { r.ports[1].name = "http"; }), HasSubstr("each name once"));
  EXPECT_THAT(reason([](auto& r) { r.labels["a b"] = ""; }), HasSubstr("labels"));
  EXPECT_THAT(events, IsEmpty());
}

}  // namespace
}  // namespace tulle::control
