#!/bin/sh
# Runs the drivers' tests on a real kernel's GPIO and I2C: boots a stock Debian
# kernel in QEMU with the kernel's gpio-sim, and with an I2C bus whose far end is
# ./i2cslave. Needs gcc, make, bison, flex, dpkg, apt-get download and
# qemu-system-x86_64; no root. What is fetched and built is kept in
# $XDG_CACHE_HOME/postern/hil by the version of the kernel.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
for tool in gcc-12 make dpkg apt-get qemu-system-x86_64 go; do
	if ! command -v "$tool" >/dev/null; then
		echo "hil: $tool is missing; install it (packages: gcc-12 make dpkg apt qemu-system-x86 golang)" >&2
		exit 2
	fi
done
version=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -n 1)
if [ -z "$version" ]; then
	echo "hil: apt knows no linux-image-amd64; run apt-get update" >&2
	exit 2
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/postern/hil/$version
series=$(echo "$version" | cut -d. -f1,2)

# fetch: kernel, headers and sources of one version, unpacked and not installed.
if [ ! -e "$cache/modules/done" ]; then
	echo "hil: fetching and building for $version in $cache"
	rm -rf "$cache"
	mkdir -p "$cache/deb" "$cache/root" "$cache/src" "$cache/modules"
	common=$(echo "$version" | sed 's/-amd64$/-common/')
	(cd "$cache/deb" && apt-get -qq download "linux-image-$version" "linux-headers-$version" "linux-headers-$common" "linux-kbuild-$series" "linux-source-$series")
	for deb in "$cache"/deb/linux-image* "$cache"/deb/linux-headers* "$cache"/deb/linux-kbuild*; do
		dpkg -x "$deb" "$cache/root"
	done
	dpkg -x "$cache"/deb/linux-source* "$cache/src"
	# Three modules that Debian does not build. gpio-sim needs irq_sim, which is
	# no module upstream; i2c-virtio takes a missing chip for success.
	tar -xJf "$cache"/src/usr/src/linux-source-*.tar.xz -C "$cache/src" --strip-components=1 --wildcards \
		'*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' '*/kernel/irq/irq_sim.c' '*/drivers/i2c/busses/i2c-virtio.c'
	build=$cache/modules
	cp "$cache/src/drivers/gpio/gpio-sim.c" "$cache/src/drivers/gpio/gpiolib.h" "$build"
	sed 's/handle_simple_irq(irq_to_desc(irqnum));/generic_handle_irq(irqnum);/' "$cache/src/kernel/irq/irq_sim.c" >"$build/irq_sim.c"
	printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n' >>"$build/irq_sim.c"
	sed 's/^\tcount = virtio_i2c_complete_reqs(vq, reqs, msgs, count);/&\n\tif (!count)\n\t\tcount = -ENXIO;/' \
		"$cache/src/drivers/i2c/busses/i2c-virtio.c" >"$build/i2c-virtio.c"
	echo 'obj-m := irq_sim.o gpio-sim.o i2c-virtio.o' >"$build/Makefile"
	headers=$cache/root/usr/src/linux-headers-$version
	sed -i "s#include /usr/src/#include $cache/root/usr/src/#" "$headers/Makefile"
	make -s -C "$headers" M="$build" modules
	rm -rf "$cache/deb" "$cache/src"
	touch "$build/done"
fi

work=$(mktemp -d)
slave=
trap 'test -z "$slave" || kill "$slave" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$work/disk/m" "$work/disk/t" "$work/disk/dev"
stock="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci configfs i2c-dev"
for m in $stock; do
	find "$cache/root/lib/modules" -name "$m.ko" -exec cp {} "$work/disk/m/" \;
done
cp "$cache"/modules/*.ko "$work/disk/m/"
for m in $stock irq_sim gpio-sim i2c-virtio; do echo "$m.ko"; done >"$work/disk/modules"

cd "$root"
export CGO_ENABLED=0
go build -o "$work/disk/init" ./board/hil/init
go build -o "$work/i2cslave" ./board/hil/i2cslave
go build -o "$work/initrd" ./board/hil/initrd
for p in gpio i2c; do
	go test -c -o "$work/disk/t/$p.test" "./drivers/$p"
done
"$work/initrd" "$work/disk" "$work/disk.cpio"

"$work/i2cslave" "$work/i2c.sock" &
slave=$!
while [ ! -S "$work/i2c.sock" ]; do sleep 0.1; done
timeout 180 qemu-system-x86_64 -M pc,memory-backend=mem -cpu max -accel tcg,thread=multi -smp 2 -m 256 \
	-object memory-backend-memfd,id=mem,size=256M,share=on -nographic -no-reboot -nic none \
	-kernel "$cache/root/boot/vmlinuz-$version" -initrd "$work/disk.cpio" -append "console=ttyS0 panic=-1 quiet" \
	-chardev "socket,path=$work/i2c.sock,id=i2c" -device vhost-user-i2c-pci,chardev=i2c,event_idx=off \
	</dev/null >"$work/log" 2>&1 || true
grep -a -E '^(=== RUN|--- |    |init:|RESULT|panic|FAIL)' "$work/log" | grep -a -v '=== RUN' || true
passed=$(grep -a -c 'RESULT .* ok' "$work/log" || true)
if [ "$passed" != 2 ] || grep -a -q -- '--- SKIP: TestKernel[A-Za-z]* ' "$work/log"; then
	tail -n 30 "$work/log" >&2
	echo "hil: failed" >&2
	exit 1
fi
echo "hil: GPIO and I2C drivers pass on Linux $version"
