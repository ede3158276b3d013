// The Huffman code of HPACK strings (RFC 7541 §5.2). Pure.
#pragma once

#include "libs/base/buffer.h"

namespace tulle::http {

// Appends what `in` stands for. False if it is not well formed: EOS in it, or padding of more than 7 bits or other than
// ones. Never more than 8/5 of in.size().
bool huffman_decode(Bytes in, Buffer& out);

}  // namespace tulle::http
