// Load for the pair benchmark: HTTP/1.1 GETs over kept connections, one thread, epoll.
//   bench_loadgen HOST PORT SECONDS CONNECTIONS RATE
// RATE > 0: open loop, requests due at fixed times; latency counts from the due time, also while all connections are
// busy. RATE 0: closed loop, each connection sends the next request when it has the answer. The first fifth of the time
// is warm-up and not counted. Prints one JSON object; every answer must be a 200 with a content-length.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "loadgen: %s\n", what.c_str());
  std::exit(1);
}

struct Connection {
  int fd = -1;
  int64_t due = 0;  // of the request in flight; 0: idle
  std::string in;
};

// Bytes of one whole response at the start of `in`; 0: not there yet.
size_t whole_response(std::string_view in) {
  size_t head = in.find("\r\n\r\n");
  if (head == std::string_view::npos) return 0;
  if (!in.starts_with("HTTP/1.1 200")) die("answer: " + std::string(in.substr(0, in.find('\r'))));
  std::string lower(in.substr(0, head));
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  size_t field = lower.find("\r\ncontent-length:");
  if (field == std::string::npos) die("an answer without content-length");
  size_t size = head + 4 + std::strtoul(lower.c_str() + field + 17, nullptr, 10);
  return in.size() >= size ? size : 0;
}

class Load {
 public:
  Load(const char* host, const char* port, double seconds, int connections, double rate)
      : request_(std::string("GET /1k HTTP/1.1\r\nHost: ") + host + "\r\nuser-agent: loadgen\r\naccept: */*\r\n\r\n"),
        interval_(rate > 0 ? 1e9 / rate : 0),
        epoll_(epoll_create1(0)),
        connections_(connections) {
    for (auto& c : connections_) {
      connect_one(host, port, c);
      idle_.push_back(&c);
    }
    start_ = now_ns();
    count_from_ = start_ + static_cast<int64_t>(seconds * 2e8);
    end_ = start_ + static_cast<int64_t>(seconds * 1e9);
  }

  void run() {
    while (true) {
      int64_t now = now_ns();
      if (now >= end_) break;
      send_due(now);
      wait();
    }
  }

  void print() {
    std::sort(latencies_.begin(), latencies_.end());
    auto at = [&](double q) {
      return latencies_.empty()
                 ? 0.0
                 : latencies_[std::min(latencies_.size() - 1, static_cast<size_t>(q * latencies_.size()))] / 1e3;
    };
    std::printf(
        "{\"requests\": %zu, \"counted\": %zu, \"rate\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
        "\"p999_us\": %.1f, \"late\": %zu}\n",
        done_, latencies_.size(), latencies_.size() / ((end_ - count_from_) / 1e9), at(.5), at(.9), at(.99), at(.999),
        waiting());
  }

 private:
  void connect_one(const char* host, const char* port, Connection& c) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    if (int e = getaddrinfo(host, port, &hints, &found)) die(std::string(host) + ": " + gai_strerror(e));
    c.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c.fd, found->ai_addr, found->ai_addrlen) != 0) die(std::string("connect: ") + std::strerror(errno));
    freeaddrinfo(found);
    int on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{.events = EPOLLIN, .data = {.ptr = &c}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event);
  }

  // How many requests were due by now and are not sent.
  size_t waiting() const {
    return interval_ > 0 ? static_cast<size_t>((end_ - start_) / interval_) -
                               std::min(sent_, static_cast<size_t>((end_ - start_) / interval_))
                         : 0;
  }

  int64_t due_of(size_t number) const { return start_ + static_cast<int64_t>(number * interval_); }

  void send_due(int64_t now) {
    while (!idle_.empty() && (interval_ == 0 || due_of(sent_) <= now)) {
      Connection& c = *idle_.back();
      idle_.pop_back();
      c.due = interval_ > 0 ? due_of(sent_) : now;
      ++sent_;
      if (send(c.fd, request_.data(), request_.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request_.size()))
        die("send failed");
    }
  }

  void wait() {
    timespec timeout{.tv_sec = 0, .tv_nsec = 100'000'000};
    if (interval_ > 0 && !idle_.empty())
      timeout.tv_nsec = std::clamp<int64_t>(due_of(sent_) - now_ns(), 0, 100'000'000);
    epoll_event events[64];
    int n = epoll_pwait2(epoll_, events, 64, &timeout, nullptr);
    for (int i = 0; i < n; ++i) receive(*static_cast<Connection*>(events[i].data.ptr));
  }

  void receive(Connection& c) {
    char buffer[65536];
    ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
    if (n <= 0) die(n == 0 ? "connection closed" : std::strerror(errno));
    c.in.append(buffer, static_cast<size_t>(n));
    size_t size = whole_response(c.in);
    if (size == 0) return;
    if (size != c.in.size()) die("more bytes than one answer");
    c.in.clear();
    int64_t now = now_ns();
    if (c.due >= count_from_) latencies_.push_back(now - c.due);
    ++done_;
    c.due = 0;
    idle_.push_back(&c);
  }

  std::string request_;
  double interval_;  // ns between due times; 0: closed loop
  int epoll_;
  std::vector<Connection> connections_;
  std::vector<Connection*> idle_;
  std::vector<int64_t> latencies_;
  size_t sent_ = 0, done_ = 0;
  int64_t start_ = 0, count_from_ = 0, end_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) die("usage: HOST PORT SECONDS CONNECTIONS RATE (0: as fast as it goes)");
  Load load(argv[1], argv[2], std::atof(argv[3]), std::atoi(argv[4]), std::atof(argv[5]));
  load.run();
  load.print();
}
