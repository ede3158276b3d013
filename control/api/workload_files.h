// What is kept on disk about running workloads, in the runtime folder: each one's token for its proxy, and who there
// was, for the next control plane to expect them. Small files on a memory file system; blocking.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/source/resource.h"
#include "libs/base/result.h"

namespace tulle::control {

class WorkloadFiles {
 public:
  // `folder` is made when the first file is.
  explicit WorkloadFiles(std::string folder) : folder_(std::move(folder)) {}

  std::string token_path(const Ref& workload) const { return path(workload, ".token"); }
  // Writes the token, and that the workload of that process runs.
  Result<> write(const Ref& workload, int64_t pid, std::string_view token);
  // A new token for it.
  Result<> write_token(const Ref& workload, std::string_view token);
  // Both are gone, if they were there.
  void remove(const Ref& workload);
  // The workloads of an earlier control plane whose process still lives; the files of the others are removed.
  std::vector<Ref> survivors();

 private:
  std::string path(const Ref& workload, std::string_view suffix) const;
  std::string folder_;
};

}  // namespace tulle::control
