// Command pack makes the Debian package of one architecture with nfpm. It is a
// module of its own, so that what packing needs is not in go.mod of the
// product.
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

func main() {
	o := options{}
	flag.StringVar(&o.version, "version", "", "of the package, as in 0.1.0")
	flag.StringVar(&o.arch, "arch", "", "armhf, arm64 or amd64")
	flag.StringVar(&o.binary, "binary", "", "postern for that architecture")
	flag.StringVar(&o.packaging, "packaging", "", "the folder board/packaging")
	flag.StringVar(&o.share, "share", "", "what generate made, man pages compressed")
	flag.StringVar(&o.docs, "docs", "", "the folder with LICENSE and docs")
	flag.StringVar(&o.out, "out", "", "the package to write")
	flag.Parse()
	if err := o.pack(); err != nil {
		fmt.Fprintf(os.Stderr, "pack: %v\n", err)
		os.Exit(1)
	}
}

type options struct{ version, arch, binary, packaging, share, docs, out string }

func (o *options) pack() error {
	at, err := date()
	if err != nil {
		return err
	}
	list, err := o.contents(at)
	if err != nil {
		return err
	}
	script := func(name string) string { return filepath.Join(o.packaging, "scripts", name) }
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "postern", Arch: o.arch, Platform: "linux", Version: o.version, Release: "1",
		Section: "net", Priority: "optional", Homepage: "https://postern.example/",
		Maintainer: "Postern <postern@postern.example>", License: "Apache-2.0",
		Description: "gateway between sensors, actuators and XMPP\n" +
			"Reads sensors and switches outputs on GPIO, I2C, SPI, 1-Wire, serial lines\n" +
			"and Modbus, and offers each of them as a node on an XMPP server (XEP-0323,\n" +
			"XEP-0325), EXI-compressed where the other end can do it (XEP-0322).",
		MTime: at,
		Overridables: nfpm.Overridables{
			Depends:    []string{"adduser"},
			Recommends: []string{"ca-certificates"},
			Suggests:   []string{"systemd"},
			Contents:   list,
			Scripts: nfpm.Scripts{
				PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm"),
			},
			Deb: nfpm.Deb{Compression: "xz"},
		},
	})
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	if err := deb.Default.Package(info, f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// contents lists the files of the package. Nothing below /etc is shipped but
// two directories: the configuration is the operator's from its first line on.
func (o *options) contents(at time.Time) (files.Contents, error) {
	var list files.Contents
	file := func(src, dst string, mode fs.FileMode) {
		list = append(list, &files.Content{Source: src, Destination: dst,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: at}})
	}
	dir := func(dst string, mode fs.FileMode) {
		list = append(list, &files.Content{Destination: dst, Type: files.TypeDir,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: at}})
	}
	file(o.binary, "/usr/bin/postern", 0o755)
	own := func(name string) string { return filepath.Join(o.packaging, name) }
	file(own("postern.service"), "/usr/lib/systemd/system/postern.service", 0o644)
	file(own("bluetooth.conf"), "/usr/share/doc/postern/bluetooth.conf", 0o644)
	file(own("postern.sysusers"), "/usr/lib/sysusers.d/postern.conf", 0o644)
	file(own("postern.rules"), "/usr/lib/udev/rules.d/60-postern.rules", 0o644)
	file(own("copyright"), "/usr/share/doc/postern/copyright", 0o644)
	file(own("lintian-overrides"), "/usr/share/lintian/overrides/postern", 0o644)
	file(filepath.Join(o.docs, "docs", "example.yaml"), "/usr/share/doc/postern/example.yaml", 0o644)
	file(filepath.Join(o.docs, "docs", "postern.schema.json"), "/usr/share/doc/postern/postern.schema.json", 0o644)
	file(filepath.Join(o.share, "changelog.Debian.gz"), "/usr/share/doc/postern/changelog.Debian.gz", 0o644)
	dir("/etc/postern", 0o755)
	dir("/etc/postern/credentials", 0o700)
	for _, part := range []string{"man", "bash-completion", "zsh", "fish"} {
		err := filepath.WalkDir(filepath.Join(o.share, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			file(path, "/usr/share"+strings.TrimPrefix(path, o.share), 0o644)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// date is that of every file, so that a package built twice is the same.
func date() (time.Time, error) {
	sec, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is not a number of seconds: %w", err)
	}
	return time.Unix(sec, 0).UTC(), nil
}
