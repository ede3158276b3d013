// Small files, whole. Blocking; for start-up, state and manifests, never for a request path.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "libs/base/result.h"
#include "libs/base/strings.h"

namespace tulle {

// The contents of a regular file of at most `max` bytes. Errors: kNotFound, kTooLarge, kIo.
Result<std::string> read_file(const std::string& path, size_t max);

// Replaces the file as a whole: a reader, or a start after a crash, sees the old contents or the new (a temporary file
// beside it, fsync, rename, fsync of the folder). Not `durable`: without fsync, for what a crash of the machine makes
// worthless anyway. Error: kIo; the old file is then untouched.
Result<> write_file_atomic(const std::string& path, Bytes contents, mode_t mode, bool durable = true);

// Makes the folder, and those above it, if it is not there. One that is there must belong to this user and is given
// `mode`. Error: kIo.
Result<> make_private_dir(const std::string& path, mode_t mode = 0700);

}  // namespace tulle
