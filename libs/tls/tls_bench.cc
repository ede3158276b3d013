// Handshakes per second and bytes per second, both ends on one thread.
#include <benchmark/benchmark.h>
#include <sys/socket.h>

#include "libs/base/check.h"
#include "libs/rt/scope.h"
#include "libs/tls/test_mesh.h"
#include "libs/tls/tls_stream.h"

namespace tulle::tls {
namespace {

using StreamResult = Result<std::unique_ptr<TlsStream>>;
rt::Task<void> put(std::unique_ptr<TlsStream>& out, rt::Task<StreamResult> task) {
  auto r = co_await std::move(task);
  TULLE_CHECK(r.has_value());
  out = std::move(*r);
}

struct Ends {
  std::unique_ptr<TlsStream> server, client;
  Ends(rt::Reactor& reactor, const std::shared_ptr<const Context>& web, const std::shared_ptr<const Context>& api) {
    int p[2];
    TULLE_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p) == 0);
    rt::Running a(reactor, put(server, TlsStream::accept(reactor, web, Fd(p[0]), {}, {}, {}, {}, kNever)));
    rt::Running b(reactor, put(client, TlsStream::connect(reactor, api, Fd(p[1]), {}, {}, test::name_of("web").name(),
                                                          test::name_of("web"), {}, kNever)));
    while (!a.done() || !b.done()) reactor.turn(1ms);
  }
};

void BM_Handshake(benchmark::State& state) {
  test::TestMesh mesh;
  auto web = mesh.context("web"), api = mesh.context("api");
  rt::Reactor reactor(1);
  for (auto _ : state) {
    if (state.range(0)) {  // a peer never met before
      state.PauseTiming();
      web = mesh.context("web");
      api = mesh.context("api");
      state.ResumeTiming();
    }
    Ends ends(reactor, web, api);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Handshake)->Arg(0)->Arg(1)->ArgName("new_peer")->Unit(benchmark::kMicrosecond);

rt::Task<void> receive(TlsStream& s, size_t& left) {
  while (left) {
    auto r = co_await s.read();
    TULLE_CHECK(r && !r->empty());
    left -= r->size();
  }
}

// A handshake and a byte, with which the next session comes.
void BM_Resumed(benchmark::State& state) {
  test::TestMesh mesh;
  auto web = mesh.context("web"), api = mesh.context("api");
  rt::Reactor reactor(1);
  bool first = true;
  for (auto _ : state) {
    Ends ends(reactor, web, api);
    TULLE_CHECK(ends.client->resumed() != std::exchange(first, false));
    size_t left = 1;
    ends.server->write("x");
    rt::Running running(reactor, receive(*ends.client, left));
    while (!running.done()) reactor.turn(1ms);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Resumed)->Unit(benchmark::kMicrosecond);

void BM_Verify(benchmark::State& state) {
  test::TestMesh mesh;
  auto chain = mesh.credentials({test::name_of("web")}).chain;
  for (auto _ : state) TULLE_CHECK(verify_chain(chain, mesh.bundle, PeerRole::kServer, mesh.now).has_value());
}
BENCHMARK(BM_Verify)->Unit(benchmark::kMicrosecond);

void BM_Issue(benchmark::State& state) {
  test::TestMesh mesh;
  std::vector<Identity> names{test::name_of("web")};
  Csr csr = *parse_csr(*make_csr(*PrivateKey::generate(), names[0]));
  for (auto _ : state) TULLE_CHECK(mesh.issuer.issue(csr, names, 24h, 20s, mesh.now).has_value());
}
BENCHMARK(BM_Issue)->Unit(benchmark::kMicrosecond);

// range: bytes per write.
void BM_Bulk(benchmark::State& state) {
  test::TestMesh mesh;
  rt::Reactor reactor(1);
  Ends ends(reactor, mesh.context("web"), mesh.context("api"));
  std::string block(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    size_t left = block.size();
    ends.client->write(block);
    rt::Running running(reactor, receive(*ends.server, left));
    while (!running.done()) reactor.turn(1ms);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Bulk)->Arg(1024)->Arg(16 * 1024)->Arg(64 * 1024)->Arg(256 * 1024);

}  // namespace
}  // namespace tulle::tls
