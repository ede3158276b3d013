// wire_interop: lets a test hold our encoding against another implementation of protobuf (tests/wire).
//   wire_interop samples          one line for each sample: NAME HEX
//   wire_interop again            reads lines NAME HEX, answers each with the HEX of its re-encoding or "error REASON"
//   wire_interop corpus FOLDER    writes the samples as seeds of wire_fuzz
#include <algorithm>
#include <fstream>
#include <iostream>

#include "libs/wire/codecs.h"

namespace {

std::string unhex(std::string_view text) {
  auto digit = [](char c) { return c <= '9' ? c - '0' : tulle::lower(c) - 'a' + 10; };
  std::string out;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1])));
  return out;
}

const tulle::wire::Codec* find(std::string_view name) {
  auto* c = std::find_if(tulle::wire::kCodecs.begin(), tulle::wire::kCodecs.end(),
                         [&](const auto& x) { return x.name == name; });
  return c == tulle::wire::kCodecs.end() ? nullptr : c;
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "samples") {
    for (const auto& [name, bytes] : tulle::wire::encoded_samples())
      if (name != "transport header") std::cout << name << ' ' << tulle::hex(bytes) << '\n';
    return 0;
  }
  if (verb == "again") {
    for (std::string line; std::getline(std::cin, line);) {
      size_t space = line.find(' ');
      auto* codec = find(line.substr(0, space));
      if (!codec || space == line.npos) return 2;
      auto out = codec->again(unhex(std::string_view(line).substr(space + 1)));
      std::cout << (out ? tulle::hex(*out) : "error " + out.error().reason) << std::endl;
    }
    return 0;
  }
  if (verb == "corpus" && argc == 3) {
    int n = 0;
    for (const auto& [name, bytes] : tulle::wire::encoded_samples()) {
      std::ofstream file(std::string(argv[2]) + "/sample-" + std::to_string(n++), std::ios::binary);
      file.put(static_cast<char>(find(name) - tulle::wire::kCodecs.data()))
          .write(bytes.data(), static_cast<long>(bytes.size()));
    }
    return 0;
  }
  std::cerr << "usage: wire_interop samples | again | corpus FOLDER\n";
  return 2;
}
