#include "proxy/worker/first_bytes.h"

#include "libs/http/detect.h"
#include "libs/rt/combine.h"

namespace tulle::proxy {

rt::Task<bool> read_more(net::Stream& s, Buffer& into) {
  auto bytes = co_await s.read();
  if (!bytes || bytes->empty()) co_return false;
  into.append(*bytes);
  co_return true;
}

rt::Task<void> read_first(net::Stream& s, Buffer& into, bool& ended, rt::Signal& changed) {
  if (!co_await read_more(s, into)) ended = true;
  changed.notify();
}

rt::Task<Speaks> detect_http(rt::Reactor& reactor, net::Stream& client, Buffer& initial, TimePoint deadline,
                             bool guarded) {
  for (;;) {
    if (!initial.empty()) {
      switch (guarded ? http::detect_guarded(initial.view()) : http::detect(initial.view())) {
        case http::Detected::kHttp1: co_return Speaks::kHttp1;
        case http::Detected::kHttp2: co_return Speaks::kHttp2;
        case http::Detected::kNotHttp: co_return Speaks::kOpaque;
        case http::Detected::kNeedMore: break;
      }
    }
    auto more = co_await rt::until(reactor, deadline, read_more(client, initial));
    if (more && *more) continue;
    if (initial.empty()) co_return more ? Speaks::kGone : Speaks::kSilent;
    co_return guarded || http::begins_with_method(initial.view()) ? Speaks::kHttp1 : Speaks::kOpaque;
  }
}

}  // namespace tulle::proxy
