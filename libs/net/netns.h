// Sockets of another network namespace (the pod's, docs/ARCHITECTURE.md "The pod").
//
// A socket belongs to the namespace in which socket() was called, whoever uses it later. So one helper thread enters
// the pod's namespace and stays there; it makes the outbound listener, the DNS sockets and a stock of unconnected TCP
// sockets, and everybody else uses them from the host's namespace with no setns on the request path.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "libs/base/fd.h"
#include "libs/base/result.h"

namespace tulle::net {

// All descriptors that it gives are close-on-exec, non-blocking and the caller's. Any thread may call; the object must
// outlive the calls.
class PodNetns {
 public:
  static constexpr size_t kStock = 64;

  // Starts the helper thread, which enters the namespace that `netns_fd` refers to (not kept, not closed). Needs
  // CAP_SYS_ADMIN in the user namespace that owns it. From then on neither the helper nor the calling thread, nor any
  // thread started later by either, has a capability: call it before other threads start.
  // Errors: what setns says, with what to look at.
  static Result<std::unique_ptr<PodNetns>> enter(int netns_fd);
  ~PodNetns();
  PodNetns(const PodNetns&) = delete;
  PodNetns& operator=(const PodNetns&) = delete;

  // Listens on 127.0.0.1:`port` of the pod, where a connection that nftables redirected arrives (SO_ORIGINAL_DST says
  // where it wanted to go). SO_REUSEPORT is set, so that each worker can have one of its own. Port 0: any.
  Result<Fd> outbound_listener(uint16_t port, int backlog);

  struct DnsSockets {
    Fd udp;  // IP_PKTINFO is on: a reply must leave from the address that was asked
    Fd tcp;  // listening
  };
  // On 0.0.0.0:`port` of the pod; since every address is local there, these get all questions, whomever they ask.
  Result<DnsSockets> dns_sockets(uint16_t port = 53);

  // An unconnected TCP socket (IPv4, TCP_NODELAY) made in the pod, for connect() to 127.0.0.1:<port of the
  // application>. Normally a short locked pop; when the stock is empty, one hop to the helper thread.
  // Error: kIo with errno (EMFILE, ENFILE, ENOBUFS, ENOMEM) when the system gives no more.
  Result<Fd> take_socket();

 private:
  PodNetns() = default;
  void run(int netns_fd);
  void refill(std::unique_lock<std::mutex>& lock);
  // Runs `job` on the helper thread and waits for it.
  void on_helper(const std::function<void()>& job);

  std::mutex mutex_;
  std::condition_variable to_helper_;
  std::condition_variable from_helper_;
  enum class State { kStarting, kInside, kRefused } state_ = State::kStarting;
  int errno_ = 0;        // why the helper is kRefused, or why the last socket could not be made; 0: it could
  bool wanted_ = false;  // somebody waits for a socket
  bool stop_ = false;
  const std::function<void()>* job_ = nullptr;
  bool job_done_ = false;
  uint64_t rounds_ = 0;  // refills done: a waiter that sees one without getting a socket gives up
  std::vector<Fd> stock_;
  std::thread helper_;
};

}  // namespace tulle::net
