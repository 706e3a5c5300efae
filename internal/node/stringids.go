package node

import (
	"errors"
	"fmt"
	"strings"
)

// StringID is one step of localising a name: the string id of a module, with
// a seed that stands for one placeholder (XEP-0323 §4).
type StringID struct {
	ID     string // digits
	Module string // empty: that of the field
	Seed   string
}

// ParseStringIDs reads a stringIds attribute by the prose grammar, which is
// wider than the printed pattern (0323-D7, D28): items separated by commas,
// each an id, optionally a bar and a module, optionally a bar and a seed.
func ParseStringIDs(s string) ([]StringID, error) {
	var out []StringID
	for item := range strings.SplitSeq(s, ",") {
		parts := strings.SplitN(item, "|", 3)
		id := StringID{ID: parts[0]}
		if id.ID == "" || strings.Trim(id.ID, "0123456789") != "" {
			return nil, fmt.Errorf("string id %q: an item starts with digits", item)
		}
		if len(parts) > 1 {
			id.Module = parts[1]
		}
		if id.Module != "" && !dottedWords(id.Module) {
			return nil, fmt.Errorf("string id %q: %q is no module", item, id.Module)
		}
		if len(parts) > 2 {
			id.Seed = parts[2]
		}
		out = append(out, id)
	}
	return out, nil
}

// oneText refuses two names for the same string ids of a module (0323-R40):
// whoever translates them would give both the same text. seen is filled by
// module and ids.
func oneText(seen map[[2]string]string, n *Node) error {
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.StringIDs == "" {
			continue
		}
		k := [2]string{f.Module, f.StringIDs}
		if other, twice := seen[k]; twice && other != f.Name {
			return fmt.Errorf("node %s: field %s: the string ids %s of module %q stand for the name %s already", n.Ref, f.Name, f.StringIDs, f.Module, other)
		}
		seen[k] = f.Name
	}
	return nil
}

// dottedWords: letters, digits and underscores, in parts separated by dots.
func dottedWords(s string) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || strings.Trim(word, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") != "" {
			return false
		}
	}
	return true
}

// checkLocalisation accepts only what every reader can parse: a module with
// every seed, and no bar at the end of an item.
func (f *Field) checkLocalisation() error {
	if f.StringIDs == "" {
		return nil
	}
	ids, err := ParseStringIDs(f.StringIDs)
	if err != nil {
		return err
	}
	items := strings.Split(f.StringIDs, ",")
	for i, id := range ids {
		switch {
		case strings.HasSuffix(items[i], "|"):
			return fmt.Errorf("string id %q ends with a bar", items[i])
		case id.Seed != "" && id.Module == "":
			return fmt.Errorf("string id %q has a seed and no module", items[i])
		case id.Module == "" && f.Module == "":
			return errors.New("string ids need a module")
		}
	}
	return nil
}
