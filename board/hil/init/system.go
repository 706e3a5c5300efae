package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// overlay is what the initial RAM disk adds to the system on the disk; where
// there is none, this program stays the first process.
const overlay = "/system"

// unit runs this program as the agent below systemd.
const unit = `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/local/sbin/agent agent
StandardOutput=journal+console
StandardError=journal+console
OOMScoreAdjust=-900
`

// handOver makes the system on the first disk the root and its systemd the
// first process. It returns only when that fails.
func handOver() error {
	const root = "/root"
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := mountDisk(root); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	if err := addFiles(root); err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Exec("/usr/lib/systemd/systemd", []string{"systemd"}, []string{"PATH=/usr/sbin:/usr/bin"})
}

// mountDisk waits for the disk, which may appear after its module.
func mountDisk(dir string) (err error) {
	for range 250 {
		if err = unix.Mount("/dev/vda", dir, "ext4", 0, ""); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENXIO) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func addFiles(root string) error {
	self, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	const units = "/etc/systemd/system/"
	for name, data := range map[string][]byte{"/usr/local/sbin/agent": self, units + "agent.service": []byte(unit)} {
		if err := put(root+name, data); err != nil {
			return err
		}
	}
	wants := root + units + "sysinit.target.wants"
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	if err := os.Symlink("../agent.service", wants+"/agent.service"); err != nil && !os.IsExist(err) {
		return err
	}
	return filepath.WalkDir(overlay, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return put(root+strings.TrimPrefix(path, overlay), b)
	})
}

func put(name string, data []byte) error {
	mode := fs.FileMode(0o644)
	if strings.HasSuffix(filepath.Dir(name), "bin") {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(name, data, mode)
}
