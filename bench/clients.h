// The client's side of one connection, by protocol: asks, and says how many answers have come whole.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace tulle::bench {

class Client {
 public:
  virtual ~Client() = default;
  // Bytes to send at the start, and after ask().
  virtual std::string take_output() = 0;
  // One more request, of `key` (0 … lanes-1), which has none open.
  virtual void ask(size_t key) = 0;
  // Takes what came; `done(context, key)` for each whole answer. Ends the program for a wrong one.
  virtual void feed(std::string_view bytes, void (*done)(void* context, size_t key), void* context) = 0;
};

// "http1": GETs, one at a time (lanes = 1). "http2": GETs with prior knowledge. "unary": a gRPC call with a message of
// 100 bytes, answered by one of 1 KiB. "stream": a message of 1 KiB on a call that stays open per lane, and its echo.
// Null for another word.
std::unique_ptr<Client> make_client(std::string_view protocol, std::string_view host, std::string_view path,
                                    size_t lanes);

}  // namespace tulle::bench
