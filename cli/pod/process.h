// Small helpers for making processes and writing files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/pod/caps.h"
#include "libs/base/fd.h"
#include "libs/base/result.h"

namespace tulle::cli {

// A null-terminated array for exec; refers to `strings`, which must outlive it.
std::vector<char*> exec_array(const std::vector<std::string>& strings);

// Writes all of `text` to an existing file in one write(2), as /proc and /sys want it.
Result<> write_file(const std::string& path, std::string_view text);
// Up to `limit` bytes; empty when it cannot be read.
std::string read_small_file(const std::string& path, size_t limit = 64 * 1024);

// Runs a program with `input` (≤ 64 KiB, what a pipe holds) as its standard input and waits for it. Error: it could not
// be started, or exited with another status than 0, with what it wrote to standard error (first line).
// `caps`: capabilities of the caller's that the program gets too, whoever the user is.
Result<> run_program(const std::vector<std::string>& argv, std::string_view input, CapMask caps = 0);

// The full path of a program of the system: looked for in PATH, then in /usr/sbin and /sbin, which an ordinary user's
// PATH lacks. Empty when there is none.
std::string find_program(std::string_view name);

// An exit status as shells give it: the status, or 128 + the signal's number.
int shell_status(int wait_status);

}  // namespace tulle::cli
