#include "cli/pod/pod.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/pod/check.h"
#include "cli/pod/idmap.h"
#include "cli/pod/mounts.h"
#include "cli/pod/network.h"
#include "cli/pod/process.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e; ++e) out.emplace_back(*e);
  return out;
}

// Waits for a file that another process renames into place; no sleep decides anything, it only paces the looking.
bool wait_for_file(const std::string& path) {
  for (int i = 0; i < 2000; ++i) {
    if (::access(path.c_str(), F_OK) == 0) return true;
    ::poll(nullptr, 0, 5);
  }
  return false;
}

class PodTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "tulle-pod-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    ASSERT_FALSE(folder_.empty());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(std::string_view name) const { return cat(folder_, "/", name); }

  PodSpec spec(std::string script) {
    PodSpec s;
    s.command = {"/bin/sh", "-c", std::move(script)};
    s.environment = own_environment();
    s.environment.push_back(cat("DIR=", folder_));
    s.resolv_conf = default_resolv_conf("shop");
    return s;
  }

  Pod create(const PodSpec& s) {
    auto pod = Pod::create(s);
    if (!pod) {
      ADD_FAILURE() << pod.error().to_string();
      std::abort();
    }
    return std::move(*pod);
  }

  PodEvent event(Pod& pod) { return pod.next_event(); }

  // Starts the application and gives its exit status as a shell would.
  int run(Pod& pod) {
    EXPECT_TRUE(pod.start_application());
    PodEvent e = event(pod);
    EXPECT_EQ(e.kind, PodEvent::kStarted) << "errno " << e.value;
    e = event(pod);
    EXPECT_EQ(e.kind, PodEvent::kExited);
    return shell_status(e.value);
  }

  std::string folder_;
};

class ProxyTest : public PodTest {
 protected:
  void SetUp() override {
#if __has_feature(thread_sanitizer)
    GTEST_SKIP() << "the kernel lets only programs of one thread into a user namespace, and TSan has one of its own";
#endif
    PodTest::SetUp();
  }

  // The pod with the stand-in proxy, ready.
  Pod create_with_proxy(const PodSpec& s) {
    Pod pod = create(s);
    ProxySpec proxy{FAKE_PROXY, {}, {cat("READY=", file("ready")), "FORWARD_PORT=80"}, 2};
    EXPECT_TRUE(pod.start_proxy(proxy));
    EXPECT_TRUE(wait_for_file(file("ready")));
    return pod;
  }
};

TEST_F(PodTest, ExitStatusAndSignalsPassThrough) {
  Pod pod = create(spec("exit 42"));
  EXPECT_EQ(run(pod), 42);

  Pod killed = create(spec("kill -SEGV $$"));
  EXPECT_EQ(run(killed), 128 + SIGSEGV);

  Pod told = create(spec("trap 'exit 7' USR1; : > $DIR/trap; while :; do read x < $DIR/fifo; done 2>/dev/null"));
  ASSERT_EQ(::mkfifo(file("fifo").c_str(), 0600), 0);
  ASSERT_TRUE(told.start_application());
  EXPECT_EQ(event(told).kind, PodEvent::kStarted);
  ASSERT_TRUE(wait_for_file(file("trap")));
  ASSERT_TRUE(told.signal_application(SIGUSR1));
  PodEvent e = event(told);
  EXPECT_EQ(e.kind, PodEvent::kExited);
  EXPECT_EQ(shell_status(e.value), 7);
}

TEST_F(PodTest, ACommandThatDoesNotExistIsSaid) {
  PodSpec s = spec("");
  s.command = {"tulle-no-such-program"};
  Pod pod = create(s);
  ASSERT_TRUE(pod.start_application());
  PodEvent e = event(pod);
  EXPECT_EQ(e.kind, PodEvent::kNotStarted);
  EXPECT_EQ(e.value, ENOENT);
}

TEST_F(PodTest, TheApplicationIsTheCallersUserWithoutPowerOverThePod) {
  Pod pod = create(spec(
      "id -u > $DIR/uid; id -g > $DIR/gid; grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status > $DIR/caps;"
      "echo $$ > $DIR/pid; cat /proc/1/comm > $DIR/comm; ls /proc/1/fd > $DIR/fds 2>&1;"
      "(ip link set lo down || mount -t tmpfs x /mnt) 2>/dev/null && exit 1;"
      "nft list ruleset >/dev/null 2>&1 && exit 2; exit 0"));
  EXPECT_EQ(run(pod), 0);
  EXPECT_EQ(trim(read_small_file(file("uid"))), cat(::getuid()));
  EXPECT_EQ(trim(read_small_file(file("gid"))), cat(::getgid()));
  EXPECT_THAT(read_small_file(file("comm")), HasSubstr("tulle-init"));
  std::string caps = read_small_file(file("caps"));
  if (::geteuid() != 0) {
    EXPECT_THAT(caps, HasSubstr("CapEff:\t0000000000000000"));
    EXPECT_THAT(caps, HasSubstr("CapPrm:\t0000000000000000"));
    EXPECT_THAT(caps, HasSubstr("CapBnd:\t0000000000000000"));
    EXPECT_THAT(caps, HasSubstr("NoNewPrivs:\t1"));
    EXPECT_THAT(read_small_file(file("fds")), HasSubstr("denied"));
  } else {
    EXPECT_THAT(caps, HasSubstr("CapEff:\t00000000a80425fb"));  // those of kRootApplication, which is Docker's set
    EXPECT_THAT(caps, HasSubstr("NoNewPrivs:\t0"));
  }
}

TEST_F(ProxyTest, NamesAreLookedUpInThePod) {
  Pod pod =
      create_with_proxy(spec("cp /etc/resolv.conf $DIR/resolv; grep ^hosts: /etc/nsswitch.conf > $DIR/hosts; (echo >> "
                             "/etc/resolv.conf) 2>/dev/null && exit 1;"
                             "cat /proc/sys/net/ipv4/ip_unprivileged_port_start > $DIR/low;"
                             "cat /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait > $DIR/wait; exit 0"));
  EXPECT_EQ(run(pod), 0);
  EXPECT_EQ(read_small_file(file("resolv")), default_resolv_conf("shop"));
  EXPECT_THAT(read_small_file(file("hosts")), HasSubstr("files dns\n"));
  EXPECT_EQ(trim(read_small_file(file("low"))), "0");
  EXPECT_EQ(trim(read_small_file(file("wait"))), "5");
}

constexpr const char* kAskDns = R"(python3 -c '
import socket
for address in "127.0.0.1", "127.0.0.53", "192.0.2.53":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect((address, 53)); s.send(b"?")
    print(s.recv(100).decode())
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect(("192.0.2.1", 123)); s.send(b"?")
    s.recv(100)
except OSError as e:
    print("ntp", e.strerror)
' > $DIR/out)";

TEST_F(ProxyTest, DnsIsAnsweredWhereverItWasAskedAndOtherUdpIsRefused) {
  Pod pod = create_with_proxy(spec(kAskDns));
  EXPECT_EQ(run(pod), 0);
  EXPECT_EQ(read_small_file(file("out")),
            "asked 127.0.0.1\nasked 127.0.0.53\nasked 192.0.2.53\nntp Connection refused\n");
}

constexpr const char* kConnect = R"(python3 -c '
import socket
for address in ("127.96.0.5", 80), ("127.64.0.7", 8080), ("192.0.2.10", 443):
    s = socket.create_connection(address, 5); print(s.makefile().readline().strip())
try:
    socket.create_connection(("127.0.0.1", 9), 5)
except OSError as e:
    print("loopback", e.strerror)
try:
    socket.create_connection(("2001:db8::1", 80), 5)
except OSError as e:
    print("ipv6", e.strerror)
' > $DIR/out)";

TEST_F(ProxyTest, ConnectionsArriveAtTheProxyWithTheirDestination) {
  Pod pod = create_with_proxy(spec(kConnect));
  EXPECT_EQ(run(pod), 0);
  EXPECT_THAT(read_small_file(file("out")),
              HasSubstr("to 127.96.0.5:80\nto 127.64.0.7:8080\nto 192.0.2.10:443\nloopback Connection refused\nipv6 "));
}

constexpr const char* kServe = R"(exec python3 -c '
import socket, os
s = socket.create_server(("127.0.0.1", 80)); open(os.environ["DIR"] + "/up", "w")
while True:
    c, _ = s.accept(); c.recv(100); c.sendall(b"from the pod"); c.close()
')";

int connect_to(uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 ? fd : -1;
}

TEST_F(PodTest, ThereIsIpv4ForWhoAsksWhetherThereIs) {
  Pod pod = create(spec(R"(python3 -c '
import socket
print(socket.getaddrinfo("192.0.2.1", 80, flags=socket.AI_ADDRCONFIG | socket.AI_NUMERICHOST)[0][4][0])
s = socket.socket(); s.bind(("127.0.0.2", 0))
' > $DIR/out)"));
  EXPECT_EQ(run(pod), 0);
  EXPECT_EQ(read_small_file(file("out")), "192.0.2.1\n");
}

TEST_F(ProxyTest, TheProxyReachesTheApplicationFromTheHostsNetwork) {
  Pod pod = create_with_proxy(spec(kServe));
  ASSERT_TRUE(pod.start_application());
  EXPECT_EQ(event(pod).kind, PodEvent::kStarted);
  ASSERT_TRUE(wait_for_file(file("up")));
  auto port = parse_number<uint16_t>(split(read_small_file(file("ready")), ' ')[0]);
  ASSERT_TRUE(port);
  for (int i = 0; i < 200; ++i) {  // several times the stock
    Fd c(connect_to(*port));
    ASSERT_TRUE(c);
    std::string got;
    char bytes[100];
    for (ssize_t n; (n = ::read(c.get(), bytes, sizeof bytes)) > 0;) got.append(bytes, static_cast<size_t>(n));
    ASSERT_EQ(got, "from the pod");
  }
}

TEST_F(PodTest, InitGivesSocketsOfThePod) {
  Pod pod = create(spec(kServe));
  EXPECT_FALSE(pod.poll_event());
  ASSERT_TRUE(pod.start_application());
  EXPECT_EQ(event(pod).kind, PodEvent::kStarted);
  ASSERT_TRUE(wait_for_file(file("up")));
  ASSERT_TRUE(pod.ask_socket());
  PodEvent e = event(pod);
  ASSERT_EQ(e.kind, PodEvent::kSocket);
  ASSERT_TRUE(e.socket);
  sockaddr_in app{};
  app.sin_family = AF_INET;
  app.sin_port = htons(80);
  app.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::connect(e.socket.get(), reinterpret_cast<sockaddr*>(&app), sizeof app);
  pollfd up{e.socket.get(), POLLOUT, 0};
  ASSERT_EQ(::poll(&up, 1, 5000), 1);
  ASSERT_EQ(::write(e.socket.get(), "x", 1), 1);
  up.events = POLLIN;
  ASSERT_EQ(::poll(&up, 1, 5000), 1);
  char bytes[20];
  EXPECT_EQ(::read(e.socket.get(), bytes, sizeof bytes), 12);
}

TEST_F(PodTest, APortOfTheHostArrivesAtAListener) {
  PodSpec s = spec(R"(exec python3 -c '
import socket
taken = socket.create_server(("0.0.0.0", 5432))
print(socket.create_connection(("127.0.0.2", 5432), 5).makefile().readline())
try:
    socket.create_connection(("127.0.0.2", 5433), 5)
except OSError as e:
    print(e.strerror)
' > $DIR/out)");
  s.host_ports = {5432, 6000};
  Pod pod = create(s);
  auto listeners = pod.take_host_listeners();
  ASSERT_EQ(listeners.size(), 2u);
  ASSERT_TRUE(pod.start_application());
  pollfd wait{listeners[0].get(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, 5000), 1);
  Fd c(::accept4(wait.fd, nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_EQ(::write(c.get(), "hello", 5), 5);
  c.reset();
  EXPECT_EQ(event(pod).kind, PodEvent::kStarted);
  EXPECT_EQ(event(pod).kind, PodEvent::kExited);
  EXPECT_EQ(read_small_file(file("out")), "hello\nConnection refused\n");
}

TEST_F(ProxyTest, TheProxyKeepsNoPower) {
  Pod pod = create_with_proxy(spec("exit 0"));
  std::string status = read_small_file(cat("/proc/", pod.proxy_pid(), "/status"));
  EXPECT_THAT(status, HasSubstr("CapEff:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("CapAmb:\t0000000000000000"));
  for (const auto& task : std::filesystem::directory_iterator(cat("/proc/", pod.proxy_pid(), "/task")))
    EXPECT_THAT(read_small_file(task.path().string() + "/status"), HasSubstr("CapPrm:\t0000000000000000"));
}

// Nothing may outlive `tulle run`, even when it is killed.
TEST_F(ProxyTest, NothingSurvivesAKillOfTheParent) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  pid_t runner = ::fork();
  if (runner == 0) {
    PodSpec s = spec("(setsid sleep 1000 &) ; setsid sh -c 'sleep 1000' & : > $DIR/app; sleep 1000");
    Pod pod = create_with_proxy(s);
    if (!pod.start_application()) _exit(1);
    pid_t pids[2] = {pod.init_pid(), pod.proxy_pid()};
    (void)!::write(pipe[1], pids, sizeof pids);
    ::pause();
    _exit(0);
  }
  pid_t pids[2] = {};
  ASSERT_EQ(::read(pipe[0], pids, sizeof pids), static_cast<ssize_t>(sizeof pids));
  ASSERT_TRUE(wait_for_file(file("app")));
  // All processes of the application hold this pipe's end, through fork and exec: it ends when the last of them has
  // ended.
  ::close(pipe[1]);
  ::kill(runner, SIGKILL);
  ::waitpid(runner, nullptr, 0);
  pollfd end{pipe[0], POLLIN, 0};
  ASSERT_EQ(::poll(&end, 1, 5000), 1);
  char c;
  EXPECT_EQ(::read(pipe[0], &c, 1), 0);
  ::close(pipe[0]);
  for (pid_t pid : pids) {  // the proxy holds no such pipe
    Fd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    pollfd gone{fd.get(), POLLIN, 0};
    if (fd) EXPECT_EQ(::poll(&gone, 1, 5000), 1);
  }
}

TEST_F(PodTest, AllProcessesEndWithTheApplication) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  Pod pod = create(spec("setsid sleep 1000 & exit 3"));
  EXPECT_EQ(run(pod), 3);
  ::close(pipe[1]);
  // The sleeper holds the other copy of the pipe's end until it dies.
  pollfd end{pipe[0], POLLIN, 0};
  EXPECT_EQ(::poll(&end, 1, 5000), 1);
  ::close(pipe[0]);
}

TEST_F(PodTest, TheEnvironmentIsGoodEnoughToRunTheseTests) {
  for (const CheckResult& r :
       check_environment(WallTime(std::chrono::sys_days(std::chrono::year(2027) / 1 / 1)), {folder_}))
    EXPECT_EQ(r.verdict, Verdict::kOk) << r.name << ": " << r.detail << "; " << r.remedy;
  // A file in the way is no full disk.
  std::string file = folder_ + "/file";
  std::ofstream(file) << "x";
  CheckResult blocked = check_environment(WallTime(), {file + "/state"}).back();
  EXPECT_EQ(blocked.verdict, Verdict::kFail);
  EXPECT_EQ(blocked.detail, file + "/state: Not a directory");
  EXPECT_FALSE(blocked.remedy.empty());
  if (::geteuid() != 0) {
    ASSERT_EQ(::chmod(folder_.c_str(), 0), 0);
    EXPECT_EQ(check_environment(WallTime(), {folder_ + "/state"}).back().detail, folder_ + "/state: Permission denied");
    ASSERT_EQ(::chmod(folder_.c_str(), 0700), 0);
  }
  auto past = check_environment(WallTime(), {});
  EXPECT_EQ(past.back().name, "clock");
  EXPECT_EQ(past.back().verdict, Verdict::kFail);
}

TEST(PodText, SmallThings) {
  EXPECT_EQ(nsswitch_for_pod("passwd: files systemd\nhosts: files resolve [!UNAVAIL=return] dns\n"),
            "passwd: files systemd\nhosts: files dns\n");
  EXPECT_EQ(nsswitch_for_pod(""), "hosts: files dns\n");
  EXPECT_EQ(identity_map("         0     100000      65536\n"), "0 0 65536\n");
  EXPECT_EQ(identity_map("0 0 1\n1 100000 65536\n"), "0 0 1\n1 1 65536\n");
  SetupError e{Step::kRules, Error(Code::kNotFound, "there is no program nft"), ""};
  e.remedy = remedy_for(e.step, e.error);
  EXPECT_EQ(e.to_string(), "nftables: there is no program nft; install it: sudo apt install nftables");
  EXPECT_FALSE(run_program({"/bin/sh", "-c", "echo no >&2; exit 3"}, ""));
  EXPECT_THAT(run_program({"/bin/sh", "-c", "echo no >&2; exit 3"}, "").error().reason, HasSubstr("no"));
}

}  // namespace
}  // namespace tulle::cli
