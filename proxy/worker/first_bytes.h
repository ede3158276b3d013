// What a connection begins with, for both directions: whoever speaks first, and what.
#pragma once

#include "libs/base/buffer.h"
#include "libs/net/stream.h"
#include "libs/rt/signal.h"
#include "libs/rt/task.h"

namespace tulle::proxy {

// More bytes of `s` into `into`; false at its end or when it broke.
rt::Task<bool> read_more(net::Stream& s, Buffer& into);
// The same once, told by `changed`; `ended`: there were no more.
rt::Task<void> read_first(net::Stream& s, Buffer& into, bool& ended, rt::Signal& changed);

enum class Speaks : uint8_t { kHttp1, kHttp2, kOpaque, kSilent, kGone };

// Reads into `initial` until it says what the client speaks. At `deadline` what may be the start of a request is
// kHttp1, so that it is asked for the rest or refused, and nothing at all is kSilent. kGone: it left without a word.
// `guarded`: requests must not get round what is decided about them. Then it is kHttp1 also where a server may skip
// what comes first, and whatever is not certain at the deadline; else what is only possible is kOpaque, as it would be
// delayed for nothing.
rt::Task<Speaks> detect_http(rt::Reactor& reactor, net::Stream& client, Buffer& initial, TimePoint deadline,
                             bool guarded = false);

}  // namespace tulle::proxy
