#include "libs/net/socket_user.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "libs/net/socket.h"
#include "libs/rt/scope.h"

namespace tulle::net {
namespace {

rt::Task<void> connect_to(rt::Reactor& r, SocketAddr to, std::optional<Connected>& out) {
  auto c = co_await connect(r, to, ConnectOptions(), r.now() + 5s);
  if (c) out.emplace(std::move(*c));
}

TEST(SocketUser, IsOursForAsLongAsWeHoldIt) {
  for (IpAddr ip : {IpAddr::v4(127, 1, 2, 3), IpAddr::v6(0, 1)}) {
    rt::Reactor r(1);
    auto listener = Listener::bind(r, SocketAddr(ip, 0));
    if (!listener && ip.is_v6()) continue;  // a machine without IPv6
    ASSERT_TRUE(listener) << listener.error().reason;
    SocketAddr server = (*listener)->local();
    std::optional<Connected> client;
    rt::Running connecting(r, connect_to(r, server, client));
    for (int i = 0; !client && i < 1000; ++i) r.turn(10ms);
    ASSERT_TRUE(client);
    SocketAddr local = client->local;
    EXPECT_EQ(socket_user(local, server), geteuid());
    EXPECT_TRUE(peer_is_same_user(server, local));
    EXPECT_EQ(socket_user(SocketAddr(local.ip, static_cast<uint16_t>(local.port ^ 1)), server), std::nullopt);
    client.reset();
    EXPECT_EQ(socket_user(local, server), std::nullopt);
  }
}

TEST(SocketUser, TheKernelOfTheseTestsCanTell) { EXPECT_TRUE(can_tell_socket_user()); }

}  // namespace
}  // namespace tulle::net
