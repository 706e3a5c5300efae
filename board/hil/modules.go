package hil

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// moduleTree finds kernel modules by name below a directory.
type moduleTree map[string]string // name, with underscores → path

func findModules(dir string) (moduleTree, error) {
	t := moduleTree{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".ko") {
			t[moduleName(path)] = path
		}
		return err
	})
	return t, err
}

func moduleName(path string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".ko"), "-", "_")
}

// order returns the files of the named modules and of all they depend on, each
// after those it needs.
func (t moduleTree) order(names []string) ([]string, error) {
	var files []string
	done := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if done[name] {
			return nil
		}
		done[name] = true
		path, ok := t[name]
		if !ok && name == "crypto_crc32c" {
			// What ext4 asks for is one of this module's other names.
			path, ok = t["crc32c_generic"]
		}
		if !ok {
			return fmt.Errorf("hil: there is no module %s; it may be built in", name)
		}
		needs, err := depends(path)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return fmt.Errorf("%s needs: %w", name, err)
			}
		}
		files = append(files, path)
		return nil
	}
	for _, n := range names {
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// depends reads a module's section of key=value strings.
func depends(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("hil: module %s: %w", path, err)
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("hil: module %s has no .modinfo", path)
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("hil: module %s: %w", path, err)
	}
	var needs []string
	for kv := range bytes.SplitSeq(info, []byte{0}) {
		for _, key := range []string{"depends=", "softdep=pre: "} {
			if list, ok := strings.CutPrefix(string(kv), key); ok {
				needs = append(needs, strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })...)
			}
		}
	}
	return needs, nil
}
