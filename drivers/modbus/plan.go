package modbus

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Block is one read request of a plan.
type Block struct {
	Table   Table
	Address int
	Count   int // registers or bits
	Names   []string

	points []int
	holes  bool // it reads addresses that no register of the configuration has
}

// String prints the block for `postern` and the log.
func (b Block) String() string {
	unit := "registers"
	if b.Table.Bits() {
		unit = "bits"
	}
	hole := ""
	if b.holes {
		hole = ", reading across unused ones"
	}
	return fmt.Sprintf("%s %d to %d (%d %s%s): %s", b.Table, b.Address, b.Address+b.Count-1, b.Count, unit, hole, strings.Join(b.Names, ", "))
}

// Plan tells which requests a unit is read with: registers next to each other
// are merged, also across max_hole unused ones, as far as the unit gives in one
// answer. No value is divided between two requests.
func Plan(cfg Config) ([]Block, error) {
	points, err := compile(cfg.Registers)
	if err != nil {
		return nil, err
	}
	cfg.MaxRegisters, cfg.MaxBits = cmp.Or(cfg.MaxRegisters, maxReadRegisters), cmp.Or(cfg.MaxBits, maxReadBits)
	return plan(points, all(points), cfg), nil
}

func all(points []point) []int {
	idx := make([]int, len(points))
	for i := range idx {
		idx[i] = i
	}
	return idx
}

func plan(points []point, which []int, cfg Config) []Block {
	order := slices.Clone(which)
	sort.SliceStable(order, func(i, j int) bool {
		a, b := &points[order[i]], &points[order[j]]
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.Address, b.Address), cmp.Compare(a.size, b.size)) < 0
	})
	var blocks []Block
	for _, i := range order {
		p := points[i]
		limit, hole := cfg.MaxRegisters, cfg.MaxHole
		if p.table.Bits() {
			limit, hole = cfg.MaxBits, 16*cfg.MaxHole // 16 bits are as long on the line as a register
		}
		end := p.Address + p.size
		if n := len(blocks); n > 0 {
			b := &blocks[n-1]
			last := b.Address + b.Count
			if b.Table == p.table && p.Address-last <= hole && end-b.Address <= limit {
				b.holes = b.holes || p.Address > last
				b.Count = max(b.Count, end-b.Address)
				b.points, b.Names = append(b.points, i), append(b.Names, p.Name)
				continue
			}
		}
		blocks = append(blocks, Block{Table: p.table, Address: p.Address, Count: p.size, Names: []string{p.Name}, points: []int{i}})
	}
	return blocks
}
