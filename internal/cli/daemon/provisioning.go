package daemon

import (
	"fmt"
	"strings"

	"postern/internal/local"
)

// writeProvisioning tells whose a gateway is and who is asked.
func writeProvisioning(b *strings.Builder, p *local.Provisioning) {
	for i, t := range p.Things {
		head := ""
		if i == 0 {
			head = "owner"
		}
		name := ""
		if t.Node != "" {
			name = t.Node + ": "
		}
		fmt.Fprintf(b, "%-11s %s%s\n", head, printable(name), printable(claimState(t, p.Window)))
	}
	if p.Registry != "" {
		fmt.Fprintf(b, "registry    %s\n", printable(p.Registry))
	}
	if len(p.Servers) > 0 {
		fmt.Fprintf(b, "asks        %s who may read and switch\n", printable(strings.Join(p.Servers, ", ")))
	}
}

func claimState(t local.Claiming, window string) string {
	var s string
	switch {
	case t.SelfOwned:
		s = "itself"
	case t.Owner == "" && window == "shut":
		return "nobody yet: press the button of the gateway shortly, then claim it; postern pair shows the code"
	case t.Owner == "" && t.Registered:
		return "nobody yet: postern pair shows the code to claim it"
	case t.Owner == "":
		return "nobody yet, and no registry knows it"
	default:
		s = t.Owner + " since " + t.Since.Local().Format("2006-01-02")
	}
	if t.Private {
		s += ", private"
	}
	if t.Removed {
		s += ", not in the registry"
	}
	return s
}

// writeRegistry shows what a registry keeps.
func writeRegistry(b *strings.Builder, r *local.Registry) {
	where := ""
	if r.Server != "" {
		where = ", component of " + r.Server
	}
	fmt.Fprintf(b, "registry    %s%s\n", printable(r.Domain), printable(where))
	if r.Database != "" {
		fmt.Fprintf(b, "            kept in %s\n", printable(r.Database))
	}
	fmt.Fprintf(b, "            %d things, %d claimed, %d public\n", r.Things, r.Claimed, r.Listed)
	fmt.Fprintf(b, "            %d rules for %d devices, %d open questions", r.Rules, r.Devices, r.Questions)
	if r.Behind > 0 {
		fmt.Fprintf(b, "; %d have not heard of the last change", r.Behind)
	}
	b.WriteByte('\n')
	if r.ClaimsRefused > 0 {
		fmt.Fprintf(b, "            %d claims refused for coming too fast\n", r.ClaimsRefused)
	}
}
