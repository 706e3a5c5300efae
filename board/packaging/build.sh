#!/bin/bash
# Makes what is handed out: Debian packages (build.sh deb) and static tarballs
# (build.sh tarball), in dist/. What is built twice from one commit is the same.
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
what=${1:-deb}
version=${VERSION:-$(sed -n 's/^const release = "\(.*\)"/\1/p' internal/cli/daemon/version.go)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export CGO_ENABLED=0
ldflags="-s -w"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
share=$work/share
mkdir -p dist

build() { # GOARCH GOARM OUT
  GOOS=linux GOARCH=$1 GOARM=$2 $GO build -trimpath -ldflags "$ldflags" -o "$3" ./cmd/postern
}

# Man pages and completions come from this machine's own build.
$GO build -trimpath -o "$work/postern" ./cmd/postern
$GO run ./board/packaging/generate "$work/postern" "$share"
gzip -9n "$share"/man/man1/*.1
{
  printf 'postern (%s-1) stable; urgency=medium\n\n' "$version"
  printf '  * What changed is in CHANGELOG.md of the source.\n\n'
  printf ' -- Postern <postern@postern.example>  %s\n' "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n > "$share/changelog.Debian.gz"

case $what in
deb)
  pack=$work/pack
  (cd board/packaging/pack && $GO build -o "$pack" .)
  # Raspberry Pi OS calls ARMv6 armhf too, so that the one binary is for ARMv6.
  for row in ${ARCHES:-armhf:arm:6 arm64:arm64: amd64:amd64:}; do
    IFS=: read -r deb arch arm <<< "$row"
    build "$arch" "$arm" "$work/postern-$deb"
    out=dist/postern_${version}-1_$deb.deb
    "$pack" -version "$version" -arch "$deb" -binary "$work/postern-$deb" -packaging board/packaging \
      -share "$share" -docs . -out "$out"
    printf '%-40s %9d octets\n' "$out" "$(stat -c %s "$out")"
  done;;
tarball)
  for row in ${ARCHES:-armv6:arm:6 armv7:arm:7 arm64:arm64: riscv64:riscv64: amd64:amd64:}; do
    IFS=: read -r name arch arm <<< "$row"
    top=postern-$version-linux-$name
    mkdir -p "$work/$top/doc" "$work/$top/systemd"
    build "$arch" "$arm" "$work/$top/postern"
    cp LICENSE README.md CHANGELOG.md "$work/$top/"
    cp docs/example.yaml docs/postern.schema.json docs/*.md "$work/$top/doc/"
    cp -r docs/pictures "$work/$top/doc/"
    cp board/packaging/postern.service board/packaging/bluetooth.conf board/packaging/postern.sysusers board/packaging/postern.rules "$work/$top/systemd/"
    cp -r "$share" "$work/$top/share"
    rm "$work/$top/share/changelog.Debian.gz"
    out=dist/$top.tar.gz
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$top" | gzip -9n > "$out"
    printf '%-40s %9d octets\n' "$out" "$(stat -c %s "$out")"
    rm -r "${work:?}/$top"
  done;;
*)
  echo "usage: build.sh deb|tarball" >&2
  exit 2;;
esac
