// The one question that label values, log lines and tables ask of UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace tulle {

// Bytes of the valid UTF-8 character (RFC 3629 §4) that `text` starts with, 1–4; 0 if it starts with none.
size_t utf8_size(std::string_view text);

}  // namespace tulle
