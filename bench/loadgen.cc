// Load for the benches, one thread, epoll. Prints one JSON object.
//   bench_loadgen PROTOCOL HOST PORT SECONDS LANES RATE [PATH]   PROTOCOL as in clients.h
//     RATE > 0: open loop, requests due at fixed times; latency counts from the due time, also while all lanes are
//     busy. RATE 0: closed loop, each lane asks again when it has its answer. RATE < 0: the same, and it ends after
//     -RATE requests. The first fifth of the time is warm-up and not counted. Every answer must be a good one. HTTP/1
//     has a connection per lane, HTTP/2 one per ten.
//   bench_loadgen push HOST PORT SECONDS CONNECTIONS      bytes as fast as they go, to a port that drops them
//   bench_loadgen connect HOST PORT SECONDS CONCURRENT    connections, each with one byte and its echo
//   bench_loadgen hold HOST PORT SECONDS CONNECTIONS      opens so many, each with one byte and its echo; prints; holds
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "bench/clients.h"
#include "bench/sockets.h"

namespace tulle::bench {
namespace {

struct Order {
  std::string what, host, port, path;
  double seconds;
  size_t lanes;
  double rate;
};

class Load {
 public:
  explicit Load(const Order& order)
      : interval_(order.rate > 0 ? 1e9 / order.rate : 0),
        limit_(order.rate < 0 ? static_cast<size_t>(1 - order.rate) : SIZE_MAX),
        epoll_(epoll_create1(0)) {
    sockaddr_in to = resolve(order.host.c_str(), order.port.c_str());
    size_t lanes_each = order.what == "http1" ? 1 : 10;
    for (size_t lanes = 0; lanes < order.lanes; lanes += lanes_each) {
      Connection& c = connections_.emplace_back();
      size_t n = std::min(lanes_each, order.lanes - lanes);
      c.load = this;
      c.client = make_client(order.what, order.host, order.path, n);
      c.due.resize(n);
      c.fd = dial(to);
      watch(epoll_, c.fd, &c);
      flush(c);
      for (size_t key = 0; key < n; ++key) idle_.push_back({&c, key});
    }
    start_ = now_ns();
    count_from_ = start_ + static_cast<int64_t>(order.seconds * 2e8);
    end_ = start_ + static_cast<int64_t>(order.seconds * 1e9);
  }

  void run() {
    while (done_ < limit_) {
      if (limit_ != SIZE_MAX && done_ == 1 && sent_ == 1) raise(SIGSTOP);
      int64_t now = now_ns();
      if (now >= end_) break;
      send_due(now);
      wait();
    }
    end_ = std::min(end_, now_ns());
    if (limit_ != SIZE_MAX) raise(SIGSTOP);
  }

  void print() {
    std::sort(latencies_.begin(), latencies_.end());
    auto at = [&](double q) {
      size_t i = static_cast<size_t>(q * static_cast<double>(latencies_.size()));
      return latencies_.empty() ? 0.0 : static_cast<double>(latencies_[std::min(latencies_.size() - 1, i)]) / 1e3;
    };
    double counted = static_cast<double>(latencies_.size());
    std::printf(
        "{\"requests\": %zu, \"counted\": %zu, \"rate\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
        "\"p999_us\": %.1f, \"late\": %zu}\n",
        done_, latencies_.size(), counted / (static_cast<double>(end_ - count_from_) / 1e9), at(.5), at(.9), at(.99),
        at(.999), late());
  }

 private:
  struct Connection {
    int fd = -1;
    std::unique_ptr<Client> client;
    std::vector<int64_t> due;  // by key
    Load* load = nullptr;
  };
  struct Lane {
    Connection* connection;
    size_t key;
  };

  // How many requests were due by the end and are not sent.
  size_t late() const {
    if (interval_ == 0) return 0;
    auto due = static_cast<size_t>(static_cast<double>(end_ - start_) / interval_);
    return due - std::min(sent_, due);
  }

  int64_t due_of(size_t number) const { return start_ + static_cast<int64_t>(static_cast<double>(number) * interval_); }

  void flush(Connection& c) {
    if (std::string out = c.client->take_output(); !out.empty()) send_all(c.fd, out);
  }

  void send_due(int64_t now) {
    asked_.clear();
    while (!idle_.empty() && sent_ < limit_ && (interval_ == 0 || due_of(sent_) <= now)) {
      auto [c, key] = idle_.back();
      idle_.pop_back();
      c->due[key] = interval_ > 0 ? due_of(sent_) : now;
      ++sent_;
      c->client->ask(key);
      if (std::find(asked_.begin(), asked_.end(), c) == asked_.end()) asked_.push_back(c);
    }
    for (Connection* c : asked_) flush(*c);
  }

  void wait() {
    timespec timeout{.tv_sec = 0, .tv_nsec = 100'000'000};
    if (interval_ > 0 && !idle_.empty())
      timeout.tv_nsec = std::clamp<int64_t>(due_of(sent_) - now_ns(), 0, 100'000'000);
    epoll_event events[64];
    int n = epoll_pwait2(epoll_, events, 64, &timeout, nullptr);
    for (int i = 0; i < n; ++i) {
      Connection& c = *static_cast<Connection*>(events[i].data.ptr);
      static char buffer[65536];
      std::string_view bytes = receive_some(c.fd, buffer);
      if (bytes.empty()) die("connection closed");
      c.client->feed(
          bytes,
          [](void* context, size_t key) {
            auto& connection = *static_cast<Connection*>(context);
            connection.load->answered(connection, key);
          },
          &c);
      flush(c);
    }
  }

  void answered(Connection& c, size_t key) {
    if (c.due[key] >= count_from_) latencies_.push_back(now_ns() - c.due[key]);
    ++done_;
    idle_.push_back({&c, key});
  }

  double interval_;  // ns between due times; 0: closed loop
  size_t limit_;     // of requests
  int epoll_;
  std::deque<Connection> connections_;
  std::vector<Lane> idle_;
  std::vector<Connection*> asked_;
  std::vector<int64_t> latencies_;
  size_t sent_ = 0, done_ = 0;
  int64_t start_ = 0, count_from_ = 0, end_ = 0;
};

void push(const Order& order) {
  sockaddr_in to = resolve(order.host.c_str(), order.port.c_str());
  int epoll = epoll_create1(0);
  std::vector<int> fds(order.lanes);
  for (int& fd : fds) {
    fd = dial(to);
    send_all(fd, "s");
    make_nonblocking(fd);
    watch(epoll, fd, &fd, EPOLLOUT);
  }
  std::string block(256 * 1024, 'x');
  int64_t start = now_ns(), end = start + static_cast<int64_t>(order.seconds * 1e9);
  size_t total = 0;
  while (now_ns() < end) {
    epoll_event events[64];
    int n = epoll_wait(epoll, events, 64, 100);
    for (int i = 0; i < n; ++i) {
      ssize_t sent = send(*static_cast<int*>(events[i].data.ptr), block.data(), block.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) die(std::string("send: ") + std::strerror(errno));
      if (sent > 0) total += static_cast<size_t>(sent);
    }
  }
  std::printf("{\"bytes\": %zu, \"gbit_s\": %.3f}\n", total,
              static_cast<double>(total) * 8 / static_cast<double>(now_ns() - start));
}

void connect_again_and_again(const Order& order) {
  sockaddr_in to = resolve(order.host.c_str(), order.port.c_str());
  int epoll = epoll_create1(0);
  std::vector<int> fds(order.lanes);
  auto open = [&](int& fd) {
    fd = dial(to);
    send_all(fd, "e");
    watch(epoll, fd, &fd);
  };
  for (int& fd : fds) open(fd);
  int64_t start = now_ns(), end = start + static_cast<int64_t>(order.seconds * 1e9);
  size_t done = 0;
  while (now_ns() < end) {
    epoll_event events[64];
    int n = epoll_wait(epoll, events, 64, 100);
    for (int i = 0; i < n; ++i) {
      int& fd = *static_cast<int*>(events[i].data.ptr);
      char buffer[16];
      if (receive_some(fd, buffer) != "e") die("no echo");
      ++done;
      close(fd);
      open(fd);
    }
  }
  std::printf("{\"connections\": %zu, \"rate\": %.1f}\n", done,
              static_cast<double>(done) / (static_cast<double>(now_ns() - start) / 1e9));
}

void hold(const Order& order) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  sockaddr_in to = resolve(order.host.c_str(), order.port.c_str());
  for (size_t i = 0; i < order.lanes; ++i) {
    int fd = dial(to);
    send_all(fd, "e");
    char buffer[16];
    if (receive_some(fd, buffer) != "e") die("no echo on connection " + std::to_string(i + 1));
  }
  std::printf("{\"held\": %zu}\n", order.lanes);
  std::fflush(stdout);
  timespec left{.tv_sec = static_cast<time_t>(order.seconds), .tv_nsec = 0};
  nanosleep(&left, nullptr);
}

}  // namespace
}  // namespace tulle::bench

int main(int argc, char** argv) {
  using namespace tulle::bench;
  if (argc < 6) die("usage: PROTOCOL|push|connect|hold HOST PORT SECONDS LANES [RATE [PATH]]");
  Order order{argv[1],
              argv[2],
              argv[3],
              argc > 7 ? argv[7] : "/1k",
              std::atof(argv[4]),
              static_cast<size_t>(std::atoi(argv[5])),
              argc > 6 ? std::atof(argv[6]) : 0};
  if (order.what == "push") {
    push(order);
  } else if (order.what == "connect") {
    connect_again_and_again(order);
  } else if (order.what == "hold") {
    hold(order);
  } else if (make_client(order.what, order.host, order.path, 1)) {
    Load load(order);
    load.run();
    load.print();
  } else {
    die("no protocol " + order.what);
  }
}
