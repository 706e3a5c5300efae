#!/bin/sh
# Makes ready what the guest of make hil boots, and prints the directory it is
# in: a stock Debian arm64 kernel with its modules, and the modules that Debian
# does not build. Kept in $XDG_CACHE_HOME/postern/hil by the kernel's version;
# apt is asked for a newer one once a week.
#
# The packages are fetched with lists and a cache of their own and unpacked, not
# installed: the machine's own apt stays as it is. Needs no root, except for
# installing the tools below when they are missing.
set -eu
say() { echo "hil: $*" >&2; }

tools="aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-system-aarch64:qemu-system-arm make:make dpkg-deb:dpkg xz:xz-utils"
missing=
for t in $tools; do
	command -v "${t%%:*}" >/dev/null || missing="$missing ${t##*:}"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		say "these packages are missing:$missing; install them as root"
		exit 2
	fi
	say "installing$missing"
	apt-get -qq update
	# shellcheck disable=SC2086 # a list of packages
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing >/dev/null
fi

root=${XDG_CACHE_HOME:-$HOME/.cache}/postern/hil
apt=$root/apt
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
touch "$apt/state/status"
cat >"$apt/apt.conf" <<END
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
END
export APT_CONFIG="$apt/apt.conf"

# A machine without a network goes on with the kernel it has.
if [ -z "$(find "$apt/stamp" -mtime -7 2>/dev/null)" ]; then
	if apt-get -qq update >&2; then touch "$apt/stamp"; else say "apt-get update failed; going on with what is here"; fi
fi
image=$(apt-cache depends linux-image-arm64:arm64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^:]*\).*/\1/p' | head -n 1)
if [ -z "$image" ]; then
	last=$(find "$root" -maxdepth 2 -name done | sort | tail -n 1)
	if [ -z "$last" ]; then
		say "apt knows no linux-image-arm64; is deb.debian.org reachable?"
		exit 2
	fi
	dirname "$last"
	exit 0
fi
release=${image#linux-image-} # 6.1.0-57-arm64
cache=$root/$release
recipe=$(cksum <"$0") # what is in the cache was made by this script
if [ "$(cat "$cache/done" 2>/dev/null)" = "$recipe" ]; then
	echo "$cache"
	exit 0
fi

version=$(apt-cache policy "$image:arm64" | sed -n 's/.*Candidate: //p')
series=$(echo "$version" | cut -d. -f1,2)
say "fetching and building for Linux $release ($version) in $cache"
work=$root/work.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/deb" "$work/src" "$work/modules"
(cd "$work/deb" && apt-get -qq download "$image:arm64=$version" "linux-headers-$release:arm64=$version" \
	"linux-headers-${release%-arm64}-common=$version" "linux-kbuild-$series:amd64=$version" "linux-source-$series=$version") >&2
for deb in "$work"/deb/linux-image* "$work"/deb/linux-headers* "$work"/deb/linux-kbuild*; do
	dpkg-deb -x "$deb" "$work/root"
done
dpkg-deb -x "$work"/deb/linux-source* "$work/src"

# Modules that Debian does not build for arm64. gpio-sim needs irq_sim, which is
# no module upstream. i2c-virtio takes a missing chip for success; and where it
# does not wait for every message, after a signal or a failure, the far end
# writes into memory that was freed meanwhile.
tar -xJf "$work"/src/usr/src/linux-source-*.tar.xz -C "$work/src" --strip-components=1 --wildcards \
	'*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' '*/kernel/irq/irq_sim.c' '*/drivers/i2c/busses/i2c-virtio.c' \
	'*/drivers/bluetooth/hci_vhci.c' '*/drivers/hwmon/ina2xx.c' '*/drivers/rtc/rtc-ds1307.c' \
	'*/drivers/iio/chemical/bme680*' '*/drivers/iio/chemical/scd30*' '*/drivers/iio/chemical/sps30*' \
	'*/drivers/iio/chemical/scd4x*' '*/drivers/gpio/gpio-pcf857x.c' '*/drivers/pinctrl/pinctrl-mcp23s08*' '*/drivers/pwm/pwm-pca9685.c'
m=$work/modules
for f in gpio/gpio-sim.c gpio/gpiolib.h bluetooth/hci_vhci.c hwmon/ina2xx.c rtc/rtc-ds1307.c \
	gpio/gpio-pcf857x.c pinctrl/pinctrl-mcp23s08.c pinctrl/pinctrl-mcp23s08.h pinctrl/pinctrl-mcp23s08_i2c.c pwm/pwm-pca9685.c; do
	cp "$work/src/drivers/$f" "$m"
done
cp "$work"/src/drivers/iio/chemical/* "$m"
sed 's/handle_simple_irq(irq_to_desc(irqnum));/generic_handle_irq(irqnum);/' "$work/src/kernel/irq/irq_sim.c" >"$m/irq_sim.c"
printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n' >>"$m/irq_sim.c"
sed -e 's/^\tcount = virtio_i2c_complete_reqs(vq, reqs, msgs, count);/&\n\tif (!count)\n\t\tcount = -ENXIO;/' \
	-e 's/^\t\tif (!failed) {/\t\twait_for_completion(\&req->completion);\n&/' -e 's/wait_for_completion_interruptible(&req->completion)/0/' \
	"$work/src/drivers/i2c/busses/i2c-virtio.c" >"$m/i2c-virtio.c"
cat >"$m/Makefile" <<END
obj-m := irq_sim.o gpio-sim.o i2c-virtio.o hci_vhci.o ina2xx.o rtc-ds1307.o
obj-m += bme680_core.o bme680_i2c.o scd30_core.o scd30_i2c.o sps30.o sps30_i2c.o scd4x.o
obj-m += gpio-pcf857x.o pinctrl-mcp23s08.o pinctrl-mcp23s08_i2c.o pwm-pca9685.o
END
headers=$work/root/usr/src/linux-headers-$release
sed -i "s#include /usr/src/#include $work/root/usr/src/#" "$headers/Makefile"
make -s -C "$headers" M="$work/modules" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- modules >&2

# Only what the guest needs is kept.
keep=$work/keep
mkdir -p "$keep"
cp "$work/root/boot/vmlinuz-$release" "$keep/vmlinuz"
cp -r "$work/root/lib/modules/$release/kernel" "$keep/modules"
cp "$work"/modules/*.ko "$keep/modules/"
rm -rf "$cache"
echo "$recipe" >"$keep/done"
mv "$keep" "$cache"
echo "$cache"
