// Subscriptions: the streams of the control plane that are open, and what each has told. An update can be lost without
// the stream breaking (a faulty replica, a bug on either side); so now and then the proxy asks the control plane
// whether what it holds is what would be sent now (tulle.dev.Digests/Check), and subscribes afresh where it is not. On
// the control thread.
//
// A stream that is made again, after a loss of the connection or here, begins with the whole set.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libs/base/list.h"
#include "libs/base/time.h"
#include "libs/grpc/status.h"
#include "libs/httpio/client.h"
#include "libs/observe/http_series.h"
#include "libs/rt/signal.h"
#include "libs/wire/tulle.h"
#include "proxy/config/config.h"

namespace tulle::proxy {

// How to reach one of the control plane's services. The client and the series outlive the streams.
struct ControlService {
  httpio::Client& client;
  std::string authority;
  observe::HttpSeries* series = nullptr;  // null: calls are not counted
  StreamLimits limits = {};               // of a watch, which is then made anew
};

// One stream, for as long as somebody follows it. Made and destroyed by the follower.
class Subscription : public ListNode {
 public:
  Subscription(rt::Reactor& reactor, std::string rpc) : rpc_(std::move(rpc)), changed_(reactor) {}

  // What the stream has told, as a digest; nothing while there is nothing to compare.
  virtual std::optional<wire::SetDigest> digest() const = 0;

  // The follower waits for this, and then makes the stream anew if taken() says so.
  rt::Signal& changed() { return changed_; }
  bool taken() { return std::exchange(afresh_, false); }
  void ask_afresh() {
    afresh_ = true;
    changed_.notify();
  }
  const std::string& rpc() const { return rpc_; }

 protected:
  ~Subscription() = default;

 private:
  friend class Subscriptions;
  std::string rpc_;
  rt::Signal changed_;
  bool afresh_ = false;
  uint64_t id_ = 0;
  std::optional<uint64_t> vain_;  // the digest for which asking afresh has been of no use
};

struct DigestOptions {
  std::string workload, context_token;  // as in the subscriptions
  Duration interval = 30s;              // between two checks, ± a quarter; 0: never
  // An update may be on its way while the two are compared: what differs is asked about again after so long.
  Duration settle = 2s;
};

class Subscriptions {
 public:
  // `shard` (the control thread's) outlives this.
  Subscriptions(rt::Reactor& reactor, observe::Shard& shard) : reactor_(reactor), shard_(shard) {}
  void add(Subscription& s) {
    s.id_ = ++last_id_;
    open_.push_back(s);
  }

  // Compares for ever. Of a control plane that lacks the RPC everything is asked for afresh each ten intervals instead.
  rt::Task<void> check_forever(ControlService service, DigestOptions options);

 private:
  struct Held {
    uint64_t id;
    wire::SetDigest digest;
  };
  std::vector<Held> held();
  rt::Task<grpc::Outcome<std::vector<Held>>> differing(const ControlService& service, const DigestOptions& options,
                                                       const std::vector<Held>& held);
  void resync(const std::vector<Held>& lost);
  void resync(Subscription& s, std::string_view why);
  void count(std::string_view result);

  rt::Reactor& reactor_;
  observe::Shard& shard_;
  List<Subscription> open_;
  uint64_t last_id_ = 0;
};

}  // namespace tulle::proxy
