// Command initrd packs a directory as an initial RAM disk (cpio, newc format;
// the kernel's Documentation/driver-api/early-userspace/buffer-format).
package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: initrd DIRECTORY FILE")
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func pack(dir, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	inode := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		inode++
		if d.IsDir() {
			return entry(w, name, inode, 0o40755, nil)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return entry(w, name, inode, 0o100755, data)
	})
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
