#!/bin/bash
# Installs, upgrades, removes and purges the package in a Debian of its own (a
# temporary folder), and looks at the unit, man pages and completions. Needs
# root on Debian and installs the tools it needs (YES=1 does not ask).
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "package: skipped: needs root on Debian"
  exit 0
fi
need=()
for p in mmdebstrap mandoc zsh fish bash-completion lintian systemd; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' $p 2>/dev/null)" = installed ] || need+=($p)
done
if [ ${#need[@]} -gt 0 ]; then
  if [ "${YES:-}" != 1 ]; then echo "package: needs ${need[*]}; YES=1 installs them" >&2; exit 1; fi
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${need[@]}"; } </dev/null >/dev/null 2>&1 ||
    { echo "package: skipped: apt could not install ${need[*]}"; exit 0; }
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/postern-package-XXXXXX") # no dot: mandoc takes what follows one for the section
trap 'rm -rf --one-file-system "$work"' EXIT
passed=0
ok() { passed=$((passed + 1)); echo "ok   $1"; }
die() { echo "FAIL $1" >&2; exit 1; }
want() { local what=$1; shift; if "$@" >"$work/out" 2>&1; then ok "$what"; else cat "$work/out" >&2; die "$what"; fi; }
wantnot() { local what=$1; shift; if "$@" >"$work/out" 2>&1; then cat "$work/out" >&2; die "$what"; else ok "$what"; fi; }

# The packages: this version and a newer one.
arch=$(dpkg --print-architecture)
case $arch in amd64) row=amd64:amd64:;; arm64) row=arm64:arm64:;; armhf) row=armhf:arm:6;; *) echo "package: skipped on $arch"; exit 0;; esac
ARCHES=$row VERSION=0.1.0 board/packaging/build.sh deb >/dev/null
ARCHES=$row VERSION=99.0.0 board/packaging/build.sh deb >/dev/null
old=dist/postern_0.1.0-1_$arch.deb new=dist/postern_99.0.0-1_$arch.deb
cp "$old" "$work/first.deb"
ARCHES=$row VERSION=0.1.0 board/packaging/build.sh deb >/dev/null
want "a package built twice is the same" cmp "$old" "$work/first.deb"
want "lintian finds nothing" lintian --allow-root --fail-on error,warning "$old"

# The unit, judged by systemd's own tool.
want "systemd-analyze security gives at most 2.0" systemd-analyze security --offline=true --threshold=20 --no-pager board/packaging/postern.service
systemd-analyze security --offline=true --no-pager board/packaging/postern.service | tail -1

# Man pages and completions, by the programs that read them.
dpkg-deb -x "$old" "$work/x"
for f in "$work"/x/usr/share/man/man1/*.gz; do
  zcat "$f" > "$work/page.1"
  mandoc -T lint -W warning "$work/page.1" > "$work/out" || { cat "$work/out" >&2; die "mandoc: $f"; }
done
ok "mandoc reads $(ls "$work"/x/usr/share/man/man1 | wc -l) man pages without a warning"
comp=$work/x/usr/share
complete_bash() { bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _postern; printf "%s\n" "${COMPREPLY[@]}"' - "$comp/bash-completion/completions/postern" "$@"; }
complete_bash postern re | grep -qx read || die "bash: postern re"
complete_bash postern run --con | grep -qx -- --config || die "bash: postern run --con"
complete_bash postern hub add | grep -qx adduser || die "bash: postern hub add"
(cd board/packaging && complete_bash postern run --config post | grep -qx postern.service) || die "bash: files"
ok "bash completes commands, sub-commands, options and files"
complete_fish() { fish --no-config -c "set fish_complete_path; source $comp/fish/vendor_completions.d/postern.fish; complete -C '$1'"; }
complete_fish 'postern re' | grep -q '^read' || die "fish: postern re"
complete_fish 'postern run --con' | grep -q '^--config' || die "fish: postern run --con"
complete_fish 'postern hub add' | grep -q '^adduser' || die "fish: postern hub add"
ok "fish completes commands, sub-commands and options"
cat > "$work/zsh" <<'Z'
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; bindkey '^M' undefined; bindkey '^J' undefined; zstyle ':completion:*' list-prompt; LISTMAX=1000; echo RE''ADY"
zpty -r z out '*READY*'
zpty -w -n z "$2"$'\t'
sleep 1
zpty -r z out "*" ; print -r -- "$out"
while zpty -r -t z out; do print -r -- "$out"; done
Z
complete_zsh() { zsh -f "$work/zsh" "$comp/zsh/vendor-completions" "$1" 2>&1 | tr -d '\r\007'; }
complete_zsh 'postern expl' | grep -q 'explain' || die "zsh: postern expl"
complete_zsh 'postern run --conf' | grep -q -- '--config' || die "zsh: postern run --conf"
complete_zsh 'postern hub addu' | grep -q 'adduser' || die "zsh: postern hub addu"
ok "zsh completes commands, sub-commands and options"

# A Debian of its own. Nothing is mounted into it while the test runs.
root=$work/root
mmdebstrap --quiet --variant=apt --include=systemd,udev,adduser "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$root" > "$work/out" 2>&1 ||
  { cat "$work/out" >&2; die "mmdebstrap"; }
cp "$old" "$root/old.deb"
cp "$new" "$root/new.deb"
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
files() { (cd "$root" && find . -xdev ! -path './var/lib/dpkg/*' ! -path './var/log/*' ! -path './tmp/*' ! -path './run/*' ! -path './etc/*-' | sort); }
files > "$work/before"

want "install" in_root dpkg -i /old.deb
want "the program runs" in_root postern version
want "the account is there" in_root id postern
in_root id -nG postern > "$work/groups"
for g in postern gpio i2c spi dialout; do grep -qw $g "$work/groups" || die "postern is not in group $g"; done
ok "the account is in the groups of the buses"
uid=$(in_root id -u postern)
[ "$(stat -c %a "$root/etc/postern/credentials")" = 700 ] || die "mode of the credentials"
[ "$(in_root stat -c '%a %U %G' /etc/postern)" = "750 root postern" ] || die "mode of /etc/postern"
ok "credentials are root's alone, the configuration is the group's"
want "systemd accepts the unit" in_root systemd-analyze verify --man=no /usr/lib/systemd/system/postern.service
want "the example passes postern check" in_root postern check /usr/share/doc/postern/example.yaml
wantnot "there is no configuration before the operator writes one" test -e "$root/etc/postern/postern.yaml"

echo "account: {jid: gateway@example.org, password: {credential: postern_password}}" > "$root/etc/postern/postern.yaml"
echo secret > "$root/etc/postern/credentials/password"
in_root install -d -o postern -g postern -m 0700 /var/lib/postern
echo state > "$root/var/lib/postern/postern.db"
kept() { [ "$(cat "$root/etc/postern/credentials/password")" = secret ] && [ -s "$root/etc/postern/postern.yaml" ] && [ "$(cat "$root/var/lib/postern/postern.db")" = state ]; }
want "the written configuration passes" in_root postern check /etc/postern/postern.yaml

want "upgrade" in_root dpkg -i /new.deb
want "configuration and state survive an upgrade" kept
want "downgrade" in_root dpkg -i --force-downgrade /old.deb
want "configuration and state survive a downgrade" kept
want "unpacking alone, as after a power cut" in_root dpkg --unpack /new.deb
want "the rest is made up for" in_root dpkg --configure -a
[ "$(in_root id -u postern)" = "$uid" ] || die "the account has another number"
want "remove" in_root dpkg --remove postern
wantnot "the program is gone" test -e "$root/usr/bin/postern"
want "configuration and state survive the removal" kept
want "install again" in_root dpkg -i /new.deb
want "and are found by the next installation" kept
want "purge" in_root dpkg --purge postern
files > "$work/after"
want "nothing is left of it after the purge" diff "$work/before" "$work/after"
[ "$(in_root id -u postern)" = "$uid" ] || die "the account was given up"
ok "the account's number is kept"

# Where there is no systemd-sysusers.
in_root userdel postern
mv "$root/usr/bin/systemd-sysusers" "$root/usr/bin/systemd-sysusers.kept"
want "install without systemd-sysusers" in_root dpkg -i /old.deb
in_root id -nG postern > "$work/groups"
for g in postern gpio i2c spi dialout; do grep -qw $g "$work/groups" || die "postern is not in group $g"; done
ok "the account is in the groups of the buses"
want "purge" in_root dpkg --purge postern

# The others, as far as this machine can tell.
board/packaging/build.sh deb > "$work/out"
for a in armhf arm64 amd64; do
  deb=dist/postern_$(sed -n 's/^const release = "\(.*\)"/\1/p' internal/cli/daemon/version.go)-1_$a.deb
  [ "$(dpkg-deb -f "$deb" Architecture)" = $a ] || die "$deb is for another architecture"
  dpkg-deb -x "$deb" "$work/x-$a"
  q=; case $a in armhf) q=qemu-arm;; arm64) q=qemu-aarch64;; amd64) q=qemu-x86_64;; esac
  if [ "$a" = "$arch" ]; then want "$a runs" "$work/x-$a/usr/bin/postern" version
  elif q=$(command -v $q || command -v $q-static); then want "$a runs under qemu-user" "$q" "$work/x-$a/usr/bin/postern" version
  else echo "     $a: not run, there is no qemu-user"; fi
done
rm -f "$new"
echo "$passed passed, 0 failed"
