#!/usr/bin/env bash
# Builds the release archive of one target, and the krew manifest over all archives that lie in dist/.
#
# usage: scripts/release.sh [TARGET]        (the host's target when left out)
#
# dist/meshdump-VERSION-TARGET.tar.gz holds the binary, both licences, manual pages and completions. The same binary gives
# the same archive: names are sorted, times, owners and modes are fixed.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
target=${1:-$host}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=meshdump-$version-$target
built=${CARGO_TARGET_DIR:-target}

cargo build --release --locked --target "$target"
binary=$built/$target/release/meshdump
# pages and completions do not depend on the target; a foreign binary needs one of the host beside it to write them
runnable=$binary
if [ "$target" != "$host" ]; then
    cargo build --release --locked
    runnable=$built/release/meshdump
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/$name/completions" dist
cp "$binary" "$stage/$name/kubectl-meshdump"
ln -s kubectl-meshdump "$stage/$name/meshdump"
cp LICENSE-MIT LICENSE-APACHE README.md "$stage/$name/"
"$runnable" man --out "$stage/$name/man"
for shell in bash zsh fish; do
    "$runnable" completions "$shell" > "$stage/$name/completions/meshdump.$shell"
done
tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' -C "$stage" -cf - "$name" | gzip -9n > "dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
echo "dist/$name.tar.gz"

repository=$(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml)
{
    cat <<MANIFEST
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: meshdump
spec:
  version: v$version
  homepage: $repository
  shortDescription: Where the memory of a service mesh went
  description: |
    Reads Envoy config dumps, bug reports, recordings and bpftool output, offline, and says what eats the
    memory, whose it is, what is draining and what to do about it. It makes no calls to a cluster:
    kubectl exec POD -c istio-proxy -- pilot-agent request GET config_dump | kubectl meshdump analyze -
  platforms:
MANIFEST
    for archive in dist/meshdump-"$version"-*.tar.gz; do
        file=${archive##*/}
        of=${file#meshdump-"$version"-}
        of=${of%.tar.gz}
        case $of in
            x86_64-*linux*) os=linux arch=amd64 ;;
            aarch64-*linux*) os=linux arch=arm64 ;;
            x86_64-apple-*) os=darwin arch=amd64 ;;
            aarch64-apple-*) os=darwin arch=arm64 ;;
            *) continue ;;
        esac
        cat <<PLATFORM
    - selector:
        matchLabels:
          os: $os
          arch: $arch
      uri: $repository/releases/download/v$version/$file
      sha256: $(sha256sum "$archive" | cut -d' ' -f1)
      files:
        - from: meshdump-$version-$of/kubectl-meshdump
          to: .
        - from: meshdump-$version-$of/LICENSE-*
          to: .
      bin: kubectl-meshdump
PLATFORM
    done
} > dist/meshdump.yaml
echo "dist/meshdump.yaml"
