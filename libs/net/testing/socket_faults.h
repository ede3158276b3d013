// See socket_faults.cc.
#pragma once

#include <cstdlib>

namespace tulle::net::test {

// Whether this run makes reads and writes short: a test of what one system call moves has nothing to say then.
inline bool sockets_are_at_their_worst() { return std::getenv("TULLE_TEST_FAULTS") != nullptr; }

}  // namespace tulle::net::test
