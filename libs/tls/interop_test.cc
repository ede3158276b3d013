// Debian's openssl as the other end, and as judge of what the CA makes.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "libs/net/socket.h"
#include "libs/tls/loop.h"

namespace tulle::tls {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// A child process with pipes to its input and from its output (both kinds). Killed and reaped at the end.
class Program {
 public:
  explicit Program(std::vector<std::string> args) {
    int in[2], out[2];
    TULLE_CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    std::vector<char*> argv;
    for (std::string& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      dup2(out[1], 2);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    in_ = Fd(in[1]);
    out_ = Fd(out[0]);
    fcntl(out_.get(), F_SETFL, O_NONBLOCK);
  }
  ~Program() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    wait();
  }
  void say(std::string_view text) {
    TULLE_CHECK(::write(in_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void end_input() { in_.reset(); }
  // All output so far.
  const std::string& output() {
    char block[4096];
    for (ssize_t n; (n = ::read(out_.get(), block, sizeof block)) > 0;) output_.append(block, static_cast<size_t>(n));
    return output_;
  }
  // Exit status.
  int wait() {
    if (pid_ > 0) waitpid(pid_, &status_, 0);
    pid_ = -1;
    output();
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
  }

 private:
  pid_t pid_;
  int status_ = 0;
  Fd in_, out_;
  std::string output_;
};

struct Interop : Loop {
  fs::path dir;

  void SetUp() override {
    if (Program({"openssl", "version"}).wait() != 0)
      GTEST_SKIP() << "no openssl program here: interoperability is NOT tested";
    std::string name = (fs::temp_directory_path() / "tulle-tls-XXXXXX").string();
    dir = mkdtemp(name.data());
    write("root.pem", mesh().bundle.to_pem());
    Credentials peer = mesh().credentials({name_of("peer")});
    write("peer.pem", certs_to_pem({peer.chain[0]}));
    write("issuer.pem", certs_to_pem({peer.chain[1]}));
    write("peer.key", *peer.key.to_pem());
  }
  void TearDown() override {
    if (!dir.empty()) fs::remove_all(dir);
  }
  std::string path(std::string_view name) const { return (dir / name).string(); }
  void write(std::string_view name, std::string_view text) { std::ofstream(dir / name, std::ios::binary) << text; }
  std::string contents(std::string_view name) const {
    std::ifstream in(dir / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> as_peer(std::vector<std::string> args) const {
    for (const char* a : {"-tls1_3", "-CAfile"}) args.emplace_back(a);
    args.push_back(path("root.pem"));
    for (const char* a : {"-cert", "-cert_chain", "-key"}) {
      args.emplace_back(a);
      args.push_back(path(std::string_view(a) == "-key"    ? "peer.key"
                          : std::string_view(a) == "-cert" ? "peer.pem"
                                                           : "issuer.pem"));
    }
    return args;
  }
  int openssl(std::vector<std::string> args, std::string* output = nullptr) {
    args.insert(args.begin(), "openssl");
    Program p(std::move(args));
    p.end_input();
    int status = p.wait();
    if (output) *output = p.output();
    return status;
  }
};

rt::Task<void> accept_one(net::Listener& listener, std::optional<net::Accepted>& out) {
  auto r = co_await listener.accept();
  if (r) out.emplace(std::move(*r));
}

TEST_F(Interop, OpensslClientGetsIn) {
  auto listener = *net::Listener::bind(reactor, SocketAddr(IpAddr::loopback(), 0));
  for (std::string group : {"X25519", "P-256", "P-384"}) {
    Program client(as_peer({"openssl", "s_client", "-connect", listener->local().to_string(), "-servername",
                            name_of("web").name(), "-verify_hostname", name_of("web").name(), "-verify_return_error",
                            "-groups", group, "-alpn", std::string(kTransportAlpn), "-quiet"}));
    std::optional<net::Accepted> accepted;
    scope.spawn(accept_one(*listener, accepted));
    ASSERT_TRUE(until([&] { return accepted.has_value(); })) << client.output();
    server.reset();
    accept(std::move(accepted->fd), mesh().context("web"), {std::string(kTransportAlpn)});
    ASSERT_TRUE(until([&] { return server.has_value(); }));
    ASSERT_TRUE(*server) << server->error().reason << client.output();
    EXPECT_EQ(s().group(), group == "X25519" ? "X25519" : group == "P-256" ? "P-256" : "P-384");
    EXPECT_EQ(*s().peer_identity(), name_of("peer"));
    EXPECT_EQ(s().alpn(), kTransportAlpn);
    client.say("hello\n");
    EXPECT_EQ(read(s()), "hello\n");
    s().write("goodbye\n");
    s().shutdown_write();
    ASSERT_TRUE(until([&] { return client.output().ends_with("goodbye\n"); })) << client.output();
  }
}

TEST_F(Interop, OpensslClientResumesAndAStolenTicketLendsNoName) {
  ContextOptions options = mesh().options("web");
  options.server_names = {};
  auto web = *Context::make(std::move(options));
  auto listener = *net::Listener::bind(reactor, SocketAddr(IpAddr::loopback(), 0));
  auto meet = [&](std::vector<std::string> args, std::string_view workload = "web") {
    args.insert(args.begin(), {"openssl", "s_client", "-connect", listener->local().to_string(), "-servername",
                               name_of(workload).name(), "-quiet"});
    Program client(std::move(args));
    std::optional<net::Accepted> accepted;
    scope.spawn(accept_one(*listener, accepted));
    ASSERT_TRUE(until([&] { return accepted.has_value(); })) << client.output();
    server.reset();
    accept(std::move(accepted->fd), web);
    ASSERT_TRUE(until([&] { return server.has_value(); }));
    ASSERT_TRUE(*server) << server->error().reason << client.output();
    s().write("hello\n");
    ASSERT_TRUE(until([&] { return client.output().ends_with("hello\n"); })) << client.output();
    client.say("bye\n");
    ASSERT_EQ(read(s()), "bye\n");
  };
  meet(as_peer({"-sess_out", path("session")}));
  EXPECT_FALSE(s().resumed());
  std::string saved = contents("session");
  ASSERT_FALSE(saved.empty()) << "a ticket comes with the first data";
  for (int i = 0; i < 2; ++i) {
    meet(as_peer({"-sess_in", path("session")}));
    EXPECT_TRUE(s().resumed());
    EXPECT_EQ(*s().peer_identity(), name_of("peer"));
  }
  // The ticket alone: it is offered, but it is not resumed, and nothing that it says is of the one who shows it.
  meet({"-sess_in", path("session"), "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"});
  EXPECT_FALSE(s().resumed());
  EXPECT_EQ(s().peer_identity(), nullptr);
  meet({"-sess_in", path("session")}, "other");
  EXPECT_FALSE(s().resumed()) << "under another server name";
  EXPECT_EQ(s().peer_identity(), nullptr);
}

TEST_F(Interop, KeysAreUpdated) {
  auto listener = *net::Listener::bind(reactor, SocketAddr(IpAddr::loopback(), 0));
  // Not -quiet: a line "K" is the command to update both sides' keys.
  Program client(as_peer(
      {"openssl", "s_client", "-connect", listener->local().to_string(), "-servername", name_of("web").name()}));
  std::optional<net::Accepted> accepted;
  scope.spawn(accept_one(*listener, accepted));
  ASSERT_TRUE(until([&] { return accepted.has_value(); })) << client.output();
  accept(std::move(accepted->fd), mesh().context("web"));
  ASSERT_TRUE(until([&] { return server.has_value(); }));
  ASSERT_TRUE(*server) << server->error().reason << client.output();
  for (int i = 0; i < 3; ++i) {
    client.say("K\n");
    ASSERT_TRUE(until([&] {
      const std::string& out = client.output();
      size_t updates = 0;
      for (size_t at = 0; (at = out.find("KEYUPDATE", at)) != std::string::npos; ++at) ++updates;
      return updates > static_cast<size_t>(i);
    })) << client.output();
    client.say(cat("line ", i, "\n"));
    EXPECT_EQ(read(s()), cat("line ", i, "\n"));
    s().write(cat("answer ", i, "\n"));
    ASSERT_TRUE(until([&] { return client.output().find(cat("answer ", i)) != std::string::npos; })) << client.output();
  }
}

TEST_F(Interop, OpensslServerIsReached) {
  for (std::string group : {"X25519", "P-256"}) {
    Program program(as_peer({"openssl", "s_server", "-accept", "127.0.0.1:0", "-groups", group, "-Verify", "3",
                             "-verify_return_error", "-rev"}));
    ASSERT_TRUE(until([&] {
      return program.output().find("ACCEPT 127.0.0.1:") != std::string::npos && program.output().ends_with("\n");
    })) << program.output();
    size_t at = program.output().find("ACCEPT ") + 7;
    auto address = SocketAddr::parse(program.output().substr(at, program.output().find('\n', at) - at));
    ASSERT_TRUE(address) << program.output();
    auto reach = [&](const std::shared_ptr<const Context>& api) {
      Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_storage to;
      socklen_t size = address->to_sockaddr(to);
      ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
      fcntl(fd.get(), F_SETFL, O_NONBLOCK);
      client.reset();
      connect(std::move(fd), api, "peer");
      ASSERT_TRUE(until([&] { return client.has_value(); }));
      ASSERT_TRUE(*client) << client->error().reason << program.output();
      EXPECT_EQ(c().group(), group);
      EXPECT_EQ(*c().peer_identity(), name_of("peer"));
      // Session tickets come before the answer.
      c().write("abc\n");
      EXPECT_EQ(read(c()), "cba\n") << program.output();
    };
    auto api = mesh().context("api");
    for (bool again : {false, true}) {
      reach(api);
      EXPECT_EQ(c().resumed(), again);
      EXPECT_GE(api->session_stats().size, 1u);
    }
    // Its tickets hold the client's certificate: a large one makes large tickets, which are not kept.
    std::vector<Identity> names{name_of("api")};
    for (char c : {'a', 'b', 'c'})
      names.push_back(*Identity::parse_uri(cat("spiffe://example/", std::string(1500, c))));
    ContextOptions large = mesh().options("api");
    large.credentials = mesh().credentials(names);
    auto wordy = *Context::make(std::move(large));
    reach(wordy);
    EXPECT_EQ(wordy->session_stats().size, 0u);
    ASSERT_TRUE(until([&] { return program.output().find(name_of("api").name()) != std::string::npos; }))
        << program.output();
  }
}

TEST_F(Interop, OldProtocolsAreRefused) {
  auto listener = *net::Listener::bind(reactor, SocketAddr(IpAddr::loopback(), 0));
  Program client({"openssl", "s_client", "-connect", listener->local().to_string(), "-servername",
                  name_of("web").name(), "-tls1_2"});
  std::optional<net::Accepted> accepted;
  scope.spawn(accept_one(*listener, accepted));
  ASSERT_TRUE(until([&] { return accepted.has_value(); }));
  accept(std::move(accepted->fd), mesh().context("web"));
  ASSERT_TRUE(until([&] { return server.has_value(); }));
  ASSERT_FALSE(*server);
  EXPECT_THAT(server->error().reason, HasSubstr("UNSUPPORTED_PROTOCOL"));
  client.end_input();
  EXPECT_NE(client.wait(), 0);
}

TEST_F(Interop, OpensslAcceptsOurCertificates) {
  std::string out;
  for (const char* purpose : {"sslserver", "sslclient"})
    EXPECT_EQ(openssl({"verify", "-x509_strict", "-purpose", purpose, "-CAfile", path("root.pem"), "-untrusted",
                       path("issuer.pem"), path("peer.pem")},
                      &out),
              0)
        << out;
  openssl({"x509", "-in", path("peer.pem"), "-noout", "-text"}, &out);
  for (std::string_view wanted :
       {"Version: 3 (0x2)", "ecdsa-with-SHA256", "NIST CURVE: P-256", "Digital Signature, Key Encipherment",
        "TLS Web Server Authentication, TLS Web Client Authentication", "CA:FALSE"})
    EXPECT_THAT(out, HasSubstr(wanted));
  openssl({"x509", "-in", path("issuer.pem"), "-noout", "-text"}, &out);
  EXPECT_THAT(out, HasSubstr("CA:TRUE, pathlen:0"));
  EXPECT_THAT(out, HasSubstr("Certificate Sign, CRL Sign"));
}

TEST_F(Interop, OpensslAcceptsOurRequests) {
  write("csr.der", *make_csr(*PrivateKey::generate(), name_of("web")));
  std::string out;
  EXPECT_EQ(openssl({"req", "-inform", "DER", "-in", path("csr.der"), "-noout", "-text", "-verify"}, &out), 0) << out;
  EXPECT_THAT(out, HasSubstr(cat("DNS:", name_of("web").name())));
  EXPECT_THAT(out, HasSubstr(cat("Subject: CN = ", name_of("web").name())));
}

TEST_F(Interop, RequestsOfOthersAreChecked) {
  auto request = [&](std::string subject, std::string san, std::vector<std::string> key) -> Result<Csr> {
    std::vector<std::string> args{"req", "-new", "-nodes",      "-keyout", path("x.key"), "-outform",
                                  "DER", "-out", path("x.der"), "-subj",   subject};
    if (!san.empty()) args.insert(args.end(), {"-addext", "subjectAltName=" + san});
    args.insert(args.end(), key.begin(), key.end());
    std::string out;
    EXPECT_EQ(openssl(args, &out), 0) << out;
    return parse_csr(contents("x.der"));
  };
  const std::vector<std::string> ec{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"};
  EXPECT_TRUE(request("/CN=a.b", "DNS:a.b", ec));
  EXPECT_TRUE(request("/", "DNS:a.b", ec));
  EXPECT_TRUE(request("/O=org/CN=a.b", "DNS:a.b", {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"}));
  EXPECT_THAT(request("/CN=a.c", "DNS:a.b", ec).error().reason, HasSubstr("common name is neither empty nor a.b"));
  EXPECT_THAT(request("/CN=a.b/CN=a.c", "DNS:a.b", ec).error().reason, HasSubstr("common name"));
  EXPECT_THAT(request("/CN=a.b", "", ec).error().reason, HasSubstr("no subject alternative name"));
  EXPECT_THAT(request("/CN=a.b", "DNS:a.b,DNS:a.c", ec).error().reason, HasSubstr("exactly one"));
  for (std::string other : {"email:a@b", "IP:127.0.0.1", "URI:spiffe://a/b"}) {
    EXPECT_FALSE(request("/", other, ec));
    EXPECT_THAT(request("/", "DNS:a.b," + other, ec).error().reason, HasSubstr("exactly one"));
  }
  EXPECT_THAT(request("/", "DNS:*.b", ec).error().reason, HasSubstr("not a DNS name"));
  EXPECT_THAT(request("/CN=a.b", "DNS:a.b", {"-newkey", "rsa:2048"}).error().reason, HasSubstr("not ECDSA"));
  EXPECT_THAT(
      request("/CN=a.b", "DNS:a.b", {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"}).error().reason,
      HasSubstr(""));
}

TEST_F(Interop, KeysAndRootsOfOthersAreTaken) {
  for (std::vector<std::string> kind :
       {std::vector<std::string>{"rsa:2048"}, {"ec", "-pkeyopt", "ec_paramgen_curve:P-384"}, {"ed25519"}}) {
    std::vector<std::string> args{"req",          "-x509", "-nodes",       "-keyout", path("ca.key"), "-out",
                                  path("ca.pem"), "-subj", "/CN=old root", "-days",   "2900000",      "-newkey"};
    args.insert(args.end(), kind.begin(), kind.end());
    std::string out;
    ASSERT_EQ(openssl(args, &out), 0) << out;
    auto ca = Authority::load(*PrivateKey::from_pem(contents("ca.key")), *certs_from_pem(contents("ca.pem")));
    ASSERT_TRUE(ca) << ca.error().reason;
    EXPECT_EQ(ca->not_after(), WallTime::max()) << "further than the clock reaches";
    WallTime now = std::chrono::system_clock::now();
    Authority issuer = *ca->make_issuer("identity", 24h, now);
    Csr csr = *parse_csr(*make_csr(*PrivateKey::generate(), name_of("web")));
    std::vector<Identity> names{name_of("web")};
    Issued issued = *issuer.issue(csr, names, 1h, 20s, now);
    auto peer =
        verify_chain({issued.leaf, issued.chain[0]}, *TrustBundle::from_ders(ca->chain()), PeerRole::kServer, now);
    EXPECT_TRUE(peer) << kind[0] << ": " << peer.error().reason;
  }
  ASSERT_EQ(openssl({"ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path("sec1.key")}), 0);
  EXPECT_TRUE(PrivateKey::from_pem(contents("sec1.key")));
  ASSERT_EQ(
      openssl({"pkcs8", "-topk8", "-nocrypt", "-in", path("sec1.key"), "-outform", "DER", "-out", path("key.p8")}), 0);
  EXPECT_TRUE(PrivateKey::from_pkcs8(contents("key.p8")));
  ASSERT_EQ(openssl({"pkcs8", "-topk8", "-passout", "pass:x", "-in", path("sec1.key"), "-out", path("secret.key")}), 0);
  EXPECT_FALSE(PrivateKey::from_pem(contents("secret.key"))) << "encrypted keys are not asked for a password";
}

}  // namespace
}  // namespace tulle::tls
