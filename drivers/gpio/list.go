package gpio

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// Listed is a line that the machine has.
type Listed struct {
	Ref      Ref    // by name where its name is unique on its chip
	Offset   int    // on the chip
	Consumer string // who uses it; empty: free
	Output   bool
}

// List returns the lines of all chips. It opens the chips and requests no line,
// so that nothing moves. Chips that cannot be opened are left out, and the last
// reason is returned beside the others.
func List() ([]Listed, error) {
	paths, _ := filepath.Glob("/dev/gpiochip*")
	var lines []Listed
	var last error
	for _, p := range paths {
		f, err := os.OpenFile(p, os.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			last = fmt.Errorf("gpio: %w; put the user in the group that owns it (usually gpio)", err)
			continue
		}
		lines = append(lines, listChip(f)...)
		_ = f.Close()
	}
	return lines, last
}

func listChip(f *os.File) []Listed {
	info, err := uapi.GetChipInfo(f.Fd())
	if err != nil {
		return nil
	}
	label := uapi.BytesToString(info.Label[:])
	lines := make([]Listed, 0, info.Lines)
	count := map[string]int{}
	for i := range int(info.Lines) {
		li, err := uapi.GetLineInfoV2(f.Fd(), i)
		if err != nil {
			continue
		}
		l := Listed{Ref: Ref{Chip: label, Name: uapi.BytesToString(li.Name[:]), Offset: i}, Offset: i, Output: li.Flags.IsOutput()}
		if li.Flags.IsUsed() {
			l.Consumer = uapi.BytesToString(li.Consumer[:])
			if l.Consumer == "" {
				l.Consumer = "the kernel"
			}
		}
		count[l.Ref.Name]++
		lines = append(lines, l)
	}
	for i, l := range lines {
		if count[l.Ref.Name] > 1 || l.Ref.Name == "-" {
			lines[i].Ref.Name = ""
		}
		if lines[i].Ref.Name != "" {
			lines[i].Ref.Offset = 0
		}
	}
	return lines
}
