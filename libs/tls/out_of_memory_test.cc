// AWS-LC is the one library below us whose allocations may fail and be reported (ours end the process). Here the 1st,
// 2nd, 3rd … of each operation fails: what we make of that is an error, or nothing that matters; nothing crashes, leaks
// (under ASan) or waits, and the next operation goes well.
#include <malloc.h>
#include <openssl/mem.h>

#include <atomic>
#include <cstdlib>

#include "libs/tls/loop.h"

namespace {
std::atomic<int> left{0};  // allocations until the one that fails; 0: none does. Of the whole program, as malloc() is
bool refused() { return left.load(std::memory_order_relaxed) > 0 && left.fetch_sub(1) == 1; }
}  // namespace

// In place of AWS-LC's own, in this program.
extern "C" {
void* OPENSSL_memory_alloc(size_t size) { return refused() ? nullptr : std::malloc(size); }
void OPENSSL_memory_free(void* p) { std::free(p); }
size_t OPENSSL_memory_get_size(void* p) { return p ? malloc_usable_size(p) : 0; }
void* OPENSSL_memory_realloc(void* p, size_t size) { return refused() ? nullptr : std::realloc(p, size); }
}

namespace tulle::tls {
namespace {

// Runs `operation` with the nth allocation failing for n = 1, 2, … until one has fewer; returns how often it failed.
// `operation`: gives whether all went well.
template <class F>
int with_each_allocation_failing(F operation) {
  EXPECT_TRUE(operation()) << "what is made once a process is there";
  int failed = 0;
  for (int n = 1; n < 20'000; ++n) {
    left = n;
    bool well = operation();
    bool over = left.exchange(0) > 0;
    failed += !well;
    if (testing::Test::HasFatalFailure()) return failed;
    if (!over) continue;
    EXPECT_TRUE(well) << "nothing failed at " << n;
    EXPECT_GT(failed, 5) << "of " << n;
    testing::Test::RecordProperty("allocations", n - 1);
    testing::Test::RecordProperty("failed", failed);
    return failed;
  }
  ADD_FAILURE() << "never came to its end";
  return failed;
}

TEST(OutOfMemoryOf, MakingCertificates) {
  const TestMesh& m = mesh();
  const std::vector<Identity> names{name_of("web")};
  with_each_allocation_failing([&] {
    auto key = PrivateKey::generate();
    if (!key) return false;
    auto request = make_csr(*key, name_of("web"));
    if (!request) return false;
    auto csr = parse_csr(*request);
    if (!csr) return false;
    auto issued = m.issuer.issue(*csr, names, 1h, 0s, m.now);
    return issued && read_cert(issued->leaf) && certs_from_pem(certs_to_pem({issued->leaf}));
  });
}

// Without credentials: of a chain AWS-LC (0.47) makes a stack, SSL_CTX_set_chain_and_key, and does not look whether it
// has.
TEST(OutOfMemoryOf, MakingAContext) {
  ContextOptions options(mesh().bundle);
  with_each_allocation_failing([&] { return Context::make(options).has_value(); });
}

struct OutOfMemory : Loop {
  // Whether it arrives; a writer that cannot says so.
  bool say(TlsStream& from, TlsStream& to, std::string_view word) {
    std::optional<Result<std::string>> got;
    rt::Running reading(reactor, read_once(to, got));
    from.write(word);
    EXPECT_TRUE(until([&] { return got || from.write_error(); }));
    return got && *got && **got == word;
  }
  // A handshake and a word in each direction.
  bool exchange(const std::shared_ptr<const Context>& web, const std::shared_ptr<const Context>& api) {
    server.reset();
    client.reset();
    auto [a, b] = pair();
    accept(std::move(a), web);
    connect(std::move(b), api, "web");
    EXPECT_TRUE(until([&] { return (server && !*server) || (client && !*client) || (server && client); }));
    bool well = server && *server && client && *client;
    if (well) {
      well = say(c(), s(), "ping") && say(s(), c(), "pong");
    }
    server.reset();
    client.reset();
    // Whose peer is gone learns of it.
    EXPECT_TRUE(until([&] { return scope.size() == 0; }));
    return well;
  }
};

TEST_F(OutOfMemory, OfAHandshakeAndWhatFollows) {
  auto web = mesh().context("web"), api = mesh().context("api");
  with_each_allocation_failing([&] { return exchange(web, api); });
  EXPECT_TRUE(exchange(web, api));
}

}  // namespace
}  // namespace tulle::tls
