package xsd

import (
	"fmt"
	"strings"

	"postern/exi"
)

// dump prints the grammar that starts at s, one state a block, states numbered
// in the order they are reached, in the notation of EXI 1.0 appendix H.
func dump(s *exi.Schema, start *exi.State) string {
	seen := map[*exi.State]int{start: 0}
	order := []*exi.State{start}
	id := func(st *exi.State) int {
		n, ok := seen[st]
		if !ok {
			n = len(order)
			seen[st] = n
			order = append(order, st)
		}
		return n
	}
	var b strings.Builder
	for i := 0; i < len(order); i++ {
		st := order[i]
		fmt.Fprintf(&b, "%d", i)
		if st.FirstStartTag {
			b.WriteString(" first")
		} else if st.StartTag {
			b.WriteString(" start")
		}
		b.WriteString(":")
		for _, p := range st.Prods {
			b.WriteString(" " + p.Kind.String())
			switch {
			case p.Match == exi.Any:
				b.WriteString("(*)")
			case p.Match == exi.AnyIn:
				b.WriteString("(" + p.Name.Value().Space + ":*)")
			case p.Kind == exi.AT || p.Kind == exi.SE:
				b.WriteString("(" + p.Name.Value().Local + ")")
			}
			if p.Next != nil {
				fmt.Fprintf(&b, "→%d", id(p.Next))
			}
		}
		if st.StartTag {
			fmt.Fprintf(&b, " | %d", id(st.ContentStart))
		}
		b.WriteString("\n")
	}
	return b.String()
}
