#!/usr/bin/env bash
# Builds the outside programs of tests/conformance with the Go at hand, once for each content of go.sum, into the cache:
#   build.sh CACHE OUT
# OUT gets links to them; or, where they cannot be had, a file `missing` that says why. Never fails for that.
set -euo pipefail
mkdir -p "$1" "$2"
out=$(realpath "$2") cache=$(realpath "$1")
cd "$(dirname "$0")"
done=$cache/$(cat go.mod go.sum tools.go build.sh | sha256sum | cut -c1-16)
rm -f "$out"/*

missing() {
  echo "$*" >"$out/missing"
  printf '\033[1mtools: %s: what needs h2spec, h2specd and grpc-go is SKIPPED\033[0m\n' "$*" >&2
  exit 0
}

PATH=$PATH:/usr/local/go/bin
if [ ! -d "$done" ]; then
  command -v go >/dev/null || missing "there is no go program (1.25 or later)"
  echo "tools: building h2spec, h2specd and grpc-go's interop programs (once, about a minute)" >&2
  new=$(mktemp -d "$done.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  build() {  # NAME PACKAGE
    timeout 400 go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$new/$1" "$2" 2>"$new/log" ||
      { cat "$new/log" >&2; missing "$(go version): $(tail -1 "$new/log")"; }
  }
  build h2spec github.com/summerwind/h2spec/cmd/h2spec
  build h2specd github.com/summerwind/h2spec/cmd/h2specd
  build grpc-interop-client google.golang.org/grpc/interop/client
  build grpc-interop-server google.golang.org/grpc/interop/server
  rm "$new/log"
  chmod 755 "$new"
  mv -T "$new" "$done" 2>/dev/null || [ -d "$done" ]  # or another clone was first
fi
ln -sf "$done"/* "$out/"
