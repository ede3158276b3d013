// Runs a fuzz target without libFuzzer, so that every build replays what was once found and tries something new:
// TARGET [--mutate=SECONDS] FOLDER|FILE... first runs each file, then for so long files with a few random changes, the
// same ones in each run (each file gets its share). Exit 2 when there is nothing to replay; an input that ends the
// program is written to TARGET.crash in the current folder first, and named.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::string current, crash_path;

void keep_input(int signal) {
  int fd = ::open(crash_path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (fd >= 0 && ::write(fd, current.data(), current.size()) >= 0)
    std::fprintf(stderr, "the input is in %s\n", crash_path.c_str());
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(std::string input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current.data()), current.size());
}

// One to eight changes of the kinds that find most.
std::string mutate(std::string s, const std::string& other, std::minstd_rand& rng) {
  auto below = [&](size_t n) { return n ? static_cast<size_t>(rng() % n) : 0; };
  static constexpr std::string_view kPieces[] = {
      "\r\n", "\n", "0",    "-1", "\0", "\xff\xff\xff\xff", "%", ":", " ", "99999999999999999999", "\r\n\r\n",
      "/",    ",",  "\x80", "{",  "["};
  for (size_t n = 1 + below(8); n > 0; --n) {
    size_t at = below(s.size() + 1);
    switch (below(7)) {
      case 0: s.insert(at, 1, static_cast<char>(rng())); break;
      case 1: s.erase(at, 1 + below(8)); break;
      case 2:
        if (at < s.size()) s[at] = static_cast<char>(rng());
        break;
      case 3:
        if (at < s.size()) s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
        break;
      case 4: s.insert(at, kPieces[below(std::size(kPieces))]); break;
      case 5: s.insert(below(s.size() + 1), s.substr(at, below(64))); break;
      default: s = s.substr(0, at) + other.substr(std::min(other.size(), below(other.size() + 1))); break;
    }
  }
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 0;
  std::vector<std::filesystem::path> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view word = argv[i]; word.starts_with("--mutate=")) {
      seconds = std::atof(argv[i] + 9);
    } else if (std::filesystem::is_directory(argv[i])) {
      for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
        if (entry.is_regular_file()) paths.push_back(entry.path());
    } else if (std::filesystem::is_regular_file(argv[i])) {
      paths.emplace_back(argv[i]);
    }
  }
  std::sort(paths.begin(), paths.end());
  crash_path = std::filesystem::path(argv[0]).filename().string() + ".crash";
  for (int signal : {SIGABRT, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP}) std::signal(signal, keep_input);

  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(inputs.back());
  }
  size_t mutations = 0;
  std::minstd_rand rng(1);
  using Clock = std::chrono::steady_clock;
  auto end = Clock::now() + std::chrono::duration<double>(inputs.empty() ? 0 : seconds);
  while (Clock::now() < end) {
    std::string input = mutate(inputs[mutations % inputs.size()], inputs[rng() % inputs.size()], rng);
    if (input.size() <= 1 << 16) run(std::move(input));
    ++mutations;
  }
  std::printf("%zu inputs, %zu mutations\n", inputs.size(), mutations);
  return inputs.empty() ? 2 : 0;
}
