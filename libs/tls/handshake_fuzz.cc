// The first bytes of a peer that is not one: a client's to our server, or a server's to our client. The first byte of
// the input chooses the role (bit 0) and how much has been read before (the rest).
#include <sys/socket.h>

#include "libs/base/check.h"
#include "libs/rt/scope.h"
#include "libs/tls/test_mesh.h"
#include "libs/tls/tls_stream.h"

using namespace tulle;
using namespace tulle::tls;

namespace {
rt::Task<void> put(bool& done, rt::Task<Result<std::unique_ptr<TlsStream>>> task) {
  auto r = co_await std::move(task);
  TULLE_CHECK(!r && r.error().retry == Retry::kSafe && !r.error().reason.empty());
  done = true;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const test::TestMesh mesh;
  static const auto web = mesh.context("web");
  static rt::Reactor reactor(1);
  if (size == 0 || size > 64 * 1024) return 0;
  bool server = data[0] & 1;
  Bytes bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  Buffer initial;
  if (server) {
    size_t before = std::min<size_t>(data[0] / 2 * 8, bytes.size());
    initial.append(bytes.substr(0, before));
    bytes.remove_prefix(before);
  }
  int p[2];
  TULLE_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p) == 0);
  Fd ours(p[0]), theirs(p[1]);
  (void)!send(theirs.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  shutdown(theirs.get(), SHUT_WR);
  bool done = false;
  TimePoint deadline = Clock::now() + 5s;
  auto task =
      server ? TlsStream::accept(reactor, web, std::move(ours), {}, {}, std::move(initial),
                                 {std::string(kTransportAlpn)}, deadline)
             : TlsStream::connect(reactor, web, std::move(ours), {}, {}, "web", test::name_of("web"), {}, deadline);
  rt::Running running(reactor, put(done, std::move(task)));
  for (int i = 0; i < 100 && !done; ++i) reactor.turn(10ms);
  TULLE_CHECK(done);
  return 0;
}
