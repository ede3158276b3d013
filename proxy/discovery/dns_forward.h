// Passing DNS questions on to other resolvers. On the control thread.
#pragma once

#include <string>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/net/dns_message.h"
#include "libs/rt/reactor.h"
#include "libs/rt/task.h"

namespace tulle::proxy {

// Sends `message`, which `query` was read from, to one server after the other, at most `timeout` each, until one
// answers that very question. The id that goes out is random and the port the kernel's choice, so that nobody can
// answer who has not seen the question. Over TCP if the asker used TCP; else over UDP, where a cut-off answer (TC) is
// an answer: the asker comes back over TCP. Gives the answer with the asker's id. Error: none answered.
rt::Task<Result<std::string>> forward_dns(rt::Reactor& reactor, const std::vector<SocketAddr>& servers,
                                          Duration timeout, const net::dns::Query& query, std::string message,
                                          bool tcp);

// Messages over TCP stand behind their size (RFC 1035 §4.2.2).
std::string with_size(Bytes message);
// The first whole message at the front of `bytes`; nothing yet when it has not all come.
std::optional<Bytes> sized_message(Bytes bytes);

}  // namespace tulle::proxy
