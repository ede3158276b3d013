// Whose is the other end? On loopback an address proves nothing: any user of the machine may bind any of 127/8.
#pragma once

#include <optional>

#include "libs/base/addr.h"

namespace tulle::net {

// The user id that owns the TCP socket of this machine whose own address is `local` and whose peer is `remote`, as this
// process's user namespace sees it. Nothing: there is no such socket, nobody holds it any more, or the kernel cannot
// say (no inet_diag). One question to the kernel (sock_diag(7)), whatever number of sockets there are.
std::optional<uint32_t> socket_user(const SocketAddr& local, const SocketAddr& remote);

// Whether the socket at the other end of an accepted connection is held by the user that runs this process.
bool peer_is_same_user(const SocketAddr& accepted_local, const SocketAddr& accepted_peer);

// Whether this kernel can answer at all, tried on a socket made for it.
bool can_tell_socket_user();

}  // namespace tulle::net
