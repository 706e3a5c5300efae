#!/bin/sh
# Makes ready the disk that make hil-system boots, and prints its path: a small
# Debian for arm64 with systemd, udev and dpkg, of the packages of the release
# that this machine has. Kept in $XDG_CACHE_HOME/postern/hil until this script
# or the versions of the packages change; apt is asked once a week.
#
# The packages are unpacked, not installed: nothing of arm64 runs here. Needs
# root, so that the files in the disk are root's.
set -eu
say() { echo "hil: $*" >&2; }
if [ "$(id -u)" != 0 ]; then
	say "the guest with systemd needs root"
	exit 2
fi
"$(dirname "$0")/setup.sh" >/dev/null
root=${XDG_CACHE_HOME:-$HOME/.cache}/postern/hil
export APT_CONFIG="$root/apt/apt.conf"
list="systemd udev dpkg dash coreutils diffutils findutils libc-bin util-linux mount base-passwd base-files sed grep"
apt() { # shellcheck disable=SC2086 # a list of packages
	apt-get -qq -y --no-install-recommends -o APT::Architecture=arm64 -o 'APT::Architectures={"arm64";}' \
		-o Dir::Cache::archives="$archives" "$@" install $list
}
work=$root/system.work.$$
trap 'rm -rf "$work"' EXIT
archives=$work/archives
tree=$work/tree
mkdir -p "$archives/partial" "$tree/usr/bin" "$tree/usr/sbin" "$tree/usr/lib"
uris=$(apt --print-uris | cut -d' ' -f2)
disk=$root/system-$( (cat "$0"; echo "$uris") | cksum | cut -d' ' -f1).ext4
if [ -e "$disk" ]; then
	echo "$disk"
	exit 0
fi
say "fetching and unpacking $(echo "$uris" | wc -l) packages for a guest with systemd"
apt --download-only >&2
for d in bin sbin lib; do ln -s usr/$d "$tree/$d"; done
for deb in "$archives"/*.deb; do
	dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$tree"
done
# What the scripts of the packages would have done.
cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
: >"$tree/etc/fstab"
echo 00000000000000000000000000000001 >"$tree/etc/machine-id"
echo guest >"$tree/etc/hostname"
mkdir -p "$tree/var/lib/dpkg/info" "$tree/var/lib/dpkg/updates"
: >"$tree/var/lib/dpkg/status"
ln -sf /usr/lib/systemd/system/multi-user.target "$tree/etc/systemd/system/default.target"
ln -sf /dev/null "$tree/etc/systemd/system/getty.target"
rm -rf "$tree"/usr/share/doc "$tree"/usr/share/man "$tree"/usr/share/locale "$tree"/usr/share/info "$tree"/usr/share/perl5 \
	"$tree"/usr/lib/udev/hwdb.d "$tree"/usr/share/i18n "$tree"/usr/share/lintian "$tree"/boot
mkfs.ext4 -q -F -L system -d "$tree" "$work/disk" 400M >&2
rm -f "$root"/system-*.ext4
mv "$work/disk" "$disk"
echo "$disk"
