package hil

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
)

// writeDisk packs files as an initial RAM disk (cpio, newc format; the kernel's
// Documentation/driver-api/early-userspace/buffer-format). Every file may be
// executed; the directories above them are made.
func writeDisk(name string, files map[string][]byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	dirs := map[string]bool{"dev": true, ".": true}
	for name := range files {
		for d := path.Dir(name); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	inode := 0
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		inode++
		if err == nil && d != "." {
			err = entry(w, d, inode, 0o40755, nil)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		inode++
		if err == nil {
			err = entry(w, name, inode, 0o100755, files[name])
		}
	}
	if err == nil {
		err = entry(w, "TRAILER!!!", 0, 0, nil)
	}
	if err == nil {
		err = w.Flush()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// entry writes one file: a head of 13 numbers of 8 hexadecimal digits, the
// name and the content, both padded to 4 octets.
func entry(w *bufio.Writer, name string, inode, mode int, data []byte) error {
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	pad := func(n int) string { return "\x00\x00\x00"[:(4-n%4)%4] }
	if _, err := w.WriteString(head + pad(len(head))); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	_, err := w.WriteString(pad(len(data)))
	return err
}
