// The first process of a pod (process 1 of its PID namespace): sets the namespaces up, starts the application, reaps,
// passes signals on, and takes everything in the pod with it when it ends. It is a copy of `tulle run` that never
// execs; the two talk over a pair of sockets (SOCK_SEQPACKET), one message per packet: a byte and a payload.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/fd.h"
#include "libs/base/result.h"

namespace tulle::cli {

// The steps of the set-up, in order. `tulle check` shows them one by one.
enum class Step : uint8_t { kUserNamespace, kFiles, kProc, kNetwork, kRules, kPorts, kDone };

// From `tulle run` to init.
enum class Order : uint8_t {
  kMapped,  // the user and group ids are mapped: begin
  kStart,   // start the application
  kSignal,  // payload: one byte, the signal to send to the application
  kSocket,  // wanted: an unconnected TCP socket of the pod; answered by kSocket, in order
};
// From init to `tulle run`.
enum class Event : uint8_t {
  kReady,       // set up; descriptors: the user namespace, the network namespace, a listener for each host port
  kFailed,      // payload: bytes Step and Code, errno as int32, then the reason; init ends
  kWarning,     // payload as kFailed; the pod works without
  kStarted,     // the application runs
  kNotStarted,  // payload: errno of exec as int32; init ends
  kExited,      // payload: int32 wait status of the application; init ends, and all in the pod with it
  kSocket,      // descriptor: the socket; none: payload errno as int32
};

struct InitMessage {
  uint8_t type = 0;
  std::string payload;
  std::vector<Fd> fds;
};

// How many ports of the host a pod may be given (descriptors in one message).
inline constexpr size_t kMaxHostPorts = 32;

// One packet. Error when receiving: kClosed when the other end is gone; with `wait` false also kUnavailable when there
// is nothing yet.
Result<> send_message(int socket, uint8_t type, std::string_view payload, const std::vector<int>& fds = {});
Result<InitMessage> receive_message(int socket, bool wait = true);

struct InitSpec {
  std::vector<std::string> command;
  std::vector<std::string> environment;  // "NAME=value"
  std::string directory;                 // empty: as the caller
  std::string resolv_conf;
  std::vector<uint16_t> host_ports;  // connections to kHostAddress on these ports arrive at listeners sent with kReady
  // The application shares the caller's process group, and so the terminal, where the caller has one in the foreground;
  // else it has one of its own, so that a signal to the group reaches only `tulle run`.
  bool share_terminal = false;
  bool as_root = false;  // started by real root: the application keeps what it needs to switch user
};

// Runs in the new namespaces until the pod ends. `socket` is init's end.
[[noreturn]] void run_init(const InitSpec& spec, int socket);

}  // namespace tulle::cli
