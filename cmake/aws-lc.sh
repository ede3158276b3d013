#!/usr/bin/env bash
# Brings AWS-LC: `cmake/aws-lc.sh DEST` leaves DEST/include, DEST/libssl.a and DEST/libcrypto.a.
# The source is the crate aws-lc-sys, which carries all of AWS-LC's C code and assembly; cargo fetches it, and the
# pinned SHA-256 of the crate file is checked before anything of it is used.
set -euo pipefail
version=0.47.0
options=2  # of the build below: counted up when they change
sha256=8bfbe32ac36b3c428696ce315464181bc4029d689fd58e3f2a4e58c252242f52
dest=$1
done=$dest/.done-$version-$options
[ -f "$done" ] && exit 0
command -v cargo >/dev/null || { echo "aws-lc: cargo is missing; ./dev setup installs Debian's cargo-web" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/fetch/src" "$dest"
cat >"$work/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
aws-lc-sys = "=$version"
TOML
touch "$work/fetch/src/lib.rs"
(cd "$work/fetch" && CARGO_HOME="$work/cargo" cargo fetch --quiet)
crate=$(find "$work/cargo/registry/cache" -name "aws-lc-sys-$version.crate" | head -n 1)
[ -n "$crate" ] || { echo "aws-lc: cargo brought no aws-lc-sys-$version.crate" >&2; exit 1; }
echo "$sha256  $crate" | sha256sum --check --quiet || { echo "aws-lc: the crate's SHA-256 is not the pinned one" >&2; exit 1; }
tar -xzf "$crate" -C "$work"
# Randomness is the kernel's, mixed with RDRAND: the jitter of the CPU as a third source (FIPS wants it) would take 19 ms
# of each start.
cmake -S "$work/aws-lc-sys-$version/aws-lc" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DBUILD_TESTING=OFF -DBUILD_TOOL=OFF -DDISABLE_GO=ON -DDISABLE_PERL=ON -DBUILD_SHARED_LIBS=OFF -DDISABLE_CPU_JITTER_ENTROPY=ON \
  -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_POSITION_INDEPENDENT_CODE=ON >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; exit 1; }
cmake --build "$work/build" >"$work/log" 2>&1 || { tail -n 50 "$work/log" >&2; exit 1; }
rm -rf "$dest/include"
cp -r "$work/aws-lc-sys-$version/aws-lc/include" "$dest/include"
cp "$work/build/ssl/libssl.a" "$work/build/crypto/libcrypto.a" "$dest/"
touch "$done"
