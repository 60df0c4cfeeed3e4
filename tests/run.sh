#!/bin/sh
# Everything that has to pass, from a fresh clone on.
set -eu
cd "$(dirname -- "$0")/.."

sh etc/setup.sh test
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
cargo test --workspace
