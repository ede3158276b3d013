#include "proxy/balance/trust.h"

#include <gtest/gtest.h>

namespace tulle::proxy {
namespace {

const TimePoint kStart(1000s);

wire::Endpoint endpoint(uint8_t n) {
  wire::Endpoint e;
  e.addr = SocketAddr(IpAddr::v4(10, 0, 0, n), 80);
  e.tls = wire::TlsIdentity{wire::TlsIdentity::Kind::kDns, cat("id-", n), cat("id-", n)};
  return e;
}
wire::Update add(std::vector<wire::Endpoint> endpoints) {
  wire::Update u;
  u.add = std::move(endpoints);
  u.labels = {{"service", "web"}};
  return u;
}
wire::Update remove(uint8_t n) {
  wire::Update u;
  u.kind = wire::Update::Kind::kRemove;
  u.remove = {endpoint(n).addr};
  return u;
}
wire::Update none(bool exists = true) {
  wire::Update u;
  u.kind = wire::Update::Kind::kNoEndpoints;
  u.exists = exists;
  return u;
}
std::vector<EndpointId> ids(const EndpointSet::Usable& u) { return {u.ids.begin(), u.ids.end()}; }
using Ids = std::vector<EndpointId>;

TEST(Trust, PresentAndReadyIsUsed) {
  EndpointSet set;
  EXPECT_FALSE(set.resolved());
  auto changes = set.apply(add({endpoint(1), endpoint(2)}), kStart);
  EXPECT_EQ(changes.added, (Ids{0, 1}));
  EXPECT_TRUE(set.resolved());
  EXPECT_EQ(set.labels().at("service"), "web");
  EXPECT_TRUE(set.usable(kStart).ids.empty()) << "connecting";
  EXPECT_TRUE(set.any_candidate(kStart));
  set.set_ready(1, true);
  EXPECT_EQ(ids(set.usable(kStart)), Ids{1});
  EXPECT_FALSE(set.usable(kStart).verified_only);
  set.set_ready(0, true);
  EXPECT_EQ(ids(set.usable(kStart)), (Ids{0, 1}));
  set.set_ready(1, false);
  EXPECT_EQ(ids(set.usable(kStart)), Ids{0});
}

TEST(Trust, AbsentDrainsWhileOthersAreReady) {
  EndpointSet set;
  set.apply(add({endpoint(1), endpoint(2)}), kStart);
  set.set_ready(0, true);
  set.set_ready(1, true);
  set.stream_begins(0);
  EXPECT_EQ(set.apply(remove(1), kStart).absent, Ids{0});
  EXPECT_EQ(ids(set.usable(kStart)), Ids{1});
  EXPECT_TRUE(set.collect(kStart).empty()) << "a stream is open";
  set.stream_ends(0);
  EXPECT_EQ(set.collect(kStart), Ids{0});
  EXPECT_FALSE(set.contains(0));
  EXPECT_EQ(set.apply(add({endpoint(3)}), kStart).added, Ids{0}) << "the number is used again";
}

TEST(Trust, AbsentIsUsedForAGraceTimeWhenNothingElseIsReady) {
  EndpointSet set(10s);
  set.apply(add({endpoint(1)}), kStart);
  set.set_ready(0, true);
  set.apply(none(), kStart);
  auto u = set.usable(kStart + 9s);
  EXPECT_EQ(ids(u), Ids{0});
  EXPECT_TRUE(u.verified_only);
  EXPECT_EQ(set.next_deadline(kStart), kStart + 10s);
  EXPECT_TRUE(set.collect(kStart + 9s).empty());
  EXPECT_TRUE(set.usable(kStart + 10s).ids.empty()) << "then it fails fast";
  EXPECT_FALSE(set.any_candidate(kStart + 10s));
  EXPECT_EQ(set.collect(kStart + 10s), Ids{0});
  EXPECT_EQ(set.next_deadline(kStart + 10s), kNever);
}

TEST(Trust, APresentOneThatBecomesReadyEndsTheGrace) {
  EndpointSet set;
  set.apply(add({endpoint(1)}), kStart);
  set.set_ready(0, true);
  set.apply(add({endpoint(2)}), kStart);
  set.apply(remove(1), kStart);
  EXPECT_EQ(ids(set.usable(kStart)), Ids{0}) << "the new one is still connecting";
  set.set_ready(1, true);
  auto u = set.usable(kStart);
  EXPECT_EQ(ids(u), Ids{1});
  EXPECT_FALSE(u.verified_only);
  EXPECT_EQ(set.collect(kStart), Ids{0});
}

TEST(Trust, AbsentAndFailingIsNotUsed) {
  EndpointSet set;
  set.apply(add({endpoint(1)}), kStart);
  set.set_ready(0, true);
  set.apply(remove(1), kStart);
  set.set_ready(0, false);
  EXPECT_TRUE(set.usable(kStart).ids.empty());
  EXPECT_EQ(set.collect(kStart), Ids{0});
}

TEST(Trust, ReturnedIsAsBefore) {
  EndpointSet set;
  set.apply(add({endpoint(1)}), kStart);
  set.set_ready(0, true);
  set.apply(remove(1), kStart);
  auto changes = set.apply(add({endpoint(1)}), kStart + 1s);
  EXPECT_EQ(changes.returned, Ids{0});
  EXPECT_TRUE(changes.added.empty());
  auto u = set.usable(kStart + 1s);
  EXPECT_EQ(ids(u), Ids{0});
  EXPECT_FALSE(u.verified_only);
}

// Addresses are reused: another identity behind the same address is another endpoint.
TEST(Trust, AnotherIdentityReplaces) {
  EndpointSet set;
  set.apply(add({endpoint(1)}), kStart);
  set.set_ready(0, true);
  wire::Endpoint other = endpoint(1);
  other.tls->id = "somebody-else";
  auto changes = set.apply(add({other}), kStart);
  EXPECT_EQ(changes.replaced, Ids{0});
  EXPECT_TRUE(set.usable(kStart).ids.empty()) << "old connections must not get its requests";
  EXPECT_EQ(set.info(0).tls->id, "somebody-else");
}

TEST(Trust, OtherLabelsKeepTheConnections) {
  EndpointSet set;
  set.apply(add({endpoint(1)}), kStart);
  set.set_ready(0, true);
  wire::Endpoint e = endpoint(1);
  e.labels["zone"] = "b";
  auto changes = set.apply(add({e}), kStart);
  EXPECT_EQ(changes.relabelled, Ids{0});
  EXPECT_TRUE(changes.replaced.empty());
  EXPECT_EQ(ids(set.usable(kStart)), Ids{0});
  changes = set.apply(add({e}), kStart);
  EXPECT_TRUE(changes.relabelled.empty()) << "nothing changed";
}

TEST(Trust, StaleSetIsKept) {
  EndpointSet set;
  set.apply(add({endpoint(1)}), kStart);
  set.set_ready(0, true);
  EXPECT_EQ(set.stale_since(), std::nullopt);
  set.stream_broken(kStart + 1s);
  set.stream_broken(kStart + 5s);
  EXPECT_EQ(set.stale_since(), kStart + 1s);
  EXPECT_EQ(ids(set.usable(kStart + 1000h)), Ids{0}) << "for as long as it takes";
}

TEST(Trust, TheFirstAddAfterReconnectReplaces) {
  EndpointSet set;
  set.apply(add({endpoint(1), endpoint(2)}), kStart);
  set.set_ready(0, true);
  set.set_ready(1, true);
  set.stream_broken(kStart);
  auto changes = set.apply(add({endpoint(2), endpoint(3)}), kStart + 1s);
  EXPECT_EQ(changes.absent, Ids{0});
  EXPECT_EQ(changes.added, Ids{2});
  EXPECT_EQ(set.stale_since(), std::nullopt);
  EXPECT_EQ(ids(set.usable(kStart + 1s)), Ids{1});
  EXPECT_TRUE(set.apply(add({endpoint(4)}), kStart + 2s).absent.empty()) << "only the first";
}

TEST(Trust, RemoveBeforeThatAddIsIgnored) {
  EndpointSet set;
  set.apply(add({endpoint(1)}), kStart);
  set.stream_broken(kStart);
  EXPECT_TRUE(set.apply(remove(1), kStart).absent.empty());
  EXPECT_TRUE(set.present(0));
  EXPECT_NE(set.stale_since(), std::nullopt);
}

// outbound_destinations_reset_on_reconnect_followed_by_empty / _dne
TEST(Trust, ReconnectFollowedByNoEndpointsClears) {
  for (bool exists : {true, false}) {
    EndpointSet set;
    set.apply(add({endpoint(1)}), kStart);
    set.stream_broken(kStart);
    EXPECT_EQ(set.apply(none(exists), kStart).absent, Ids{0});
    EXPECT_EQ(set.present_count(), 0u);
    EXPECT_TRUE(set.resolved());
  }
}

TEST(Trust, UnknownRemovalsAreHarmless) {
  EndpointSet set;
  EXPECT_TRUE(set.apply(remove(9), kStart).absent.empty());
  set.apply(add({endpoint(1)}), kStart);
  set.apply(remove(1), kStart);
  EXPECT_TRUE(set.apply(remove(1), kStart).absent.empty());
  EXPECT_EQ(set.present_count(), 0u);
  set.stream_ends(0);
}

TEST(Trust, TwiceInOneAddIsOne) {
  EndpointSet set;
  auto changes = set.apply(add({endpoint(1), endpoint(1)}), kStart);
  EXPECT_EQ(changes.added, Ids{0});
  EXPECT_EQ(set.present_count(), 1u);
}

}  // namespace
}  // namespace tulle::proxy
