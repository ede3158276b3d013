// What the buffers of this process hold together.
#pragma once

#include <cstddef>

namespace tulle {

// Bytes of the blocks that all Buffers have now, to 64 KiB for each thread: what a thread has not told yet. Any thread.
size_t buffered_bytes();

}  // namespace tulle
