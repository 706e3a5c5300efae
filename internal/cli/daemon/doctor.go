package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/drivers"
	"postern/internal/cli"
	"postern/internal/cli/doctor"
	"postern/internal/config"
	"postern/internal/gateway"
	"postern/internal/local"
)

const doctorHelp = `Usage: postern doctor [--config FILE] [--user NAME] [--json]

Looks whether this machine is fit for the gateway: configuration, permissions
and groups, buses and what is missing on them, serial ports, clock, disk and
known faults of the kernel, supply voltage and heat. Whatever needs doing comes
with the next step. It only reads.

Options:
  --config FILE   configuration ($POSTERN_CONFIG, else /etc/postern/postern.yaml)
  --user NAME     the account that runs the gateway (as root: postern where
                  there is such an account; else the one that asks)
  --all           show what is well, too
  --json          for programs

Exit codes: 0 nothing needs doing, 1 something does, 2 usage.

Examples:
  sudo postern doctor
  postern doctor --config postern.yaml --user postern
`

// Doctor is the command postern doctor.
func Doctor(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("doctor", doctorHelp)
	file := f.String("config", "", "")
	account := f.String("user", "", "")
	all := f.Bool("all", false, "")
	asJSON := f.Bool("json", false, "")
	rest, err := f.parse(&env, args)
	if err == nil && len(rest) > 0 {
		err = usagef("there are no arguments; postern doctor --config FILE names a configuration")
	}
	if err != nil {
		return finish(&env, "doctor", err)
	}
	if *account == "" && os.Geteuid() == 0 {
		if _, err := user.Lookup("postern"); err == nil {
			*account = "postern"
		}
	}
	m, err := doctor.ThisMachine(*account)
	if err != nil {
		return finish(&env, "doctor", err)
	}
	if *file == "" {
		if *file = env.Getenv("POSTERN_CONFIG"); *file == "" {
			*file = defaultConfig
		}
	}
	found := examine(ctx, m, *file)
	todo := slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.State == doctor.Todo })
	if *asJSON {
		err = writeDoctorJSON(&env, m, found, !todo)
	} else {
		showFindings(&env, m, found, *all)
	}
	if err != nil {
		return finish(&env, "doctor", err)
	}
	if todo {
		return cli.ExitFailure
	}
	return cli.ExitOK
}

// examine makes all checks, those of the machine and those of what the
// configuration needs of it.
func examine(ctx context.Context, m *doctor.Machine, file string) []doctor.Finding {
	found := m.Board()
	cfg, configured := checkConfig(&found, file)
	found = append(found, m.Service(configured)...)
	if cfg != nil {
		for _, w := range gateway.Warnings(cfg) {
			found = append(found, doctor.Finding{Check: "serial", State: doctor.Todo, Text: w, Next: "change the configuration, then: postern check " + file})
		}
		for _, n := range together(gateway.Needs(cfg, m.Root)) {
			switch {
			case n.Err != nil:
				text := strings.TrimSuffix(n.Err.Error(), ": "+drivers.ErrGone.Error())
				found = append(found, doctor.Finding{Check: "devices", State: doctor.Todo, Text: fmt.Sprintf("%s (%s): %s", n.What, n.Who, text)})
			case n.Path == "":
				found = append(found, doctor.Finding{Check: "devices", State: doctor.OK, Text: fmt.Sprintf("%s (%s) is there", n.What, n.Who)})
			default:
				found = append(found, m.Open(n.Who, n.What, n.Path)...)
				found = append(found, m.Console(n.Who, n.Path)...)
			}
		}
	}
	found = append(found, m.Buses()...)
	found = append(found, m.Devices()...)
	found = append(found, m.Clock()...)
	dir, need := "/var/lib/postern", uint64(128<<20)
	if cfg != nil {
		need = 2 * uint64(cfg.History.Megabytes) << 20 // compaction makes a copy
		if cfg.State.Directory != "" {
			dir = cfg.State.Directory
		}
	}
	found = append(found, m.Disk(dir, need)...)
	return append(found, running(ctx, cfg)...)
}

// together says once what several devices need.
func together(needs []gateway.Need) []gateway.Need {
	var out []gateway.Need
	at := map[string]int{}
	for _, n := range needs {
		if i, ok := at[n.What]; ok {
			out[i].Who += ", " + strings.TrimPrefix(n.Who, "node ")
			continue
		}
		at[n.What] = len(out)
		out = append(out, n)
	}
	return out
}

// credentials is where the packaged service takes its secrets from.
const credentials = "/etc/postern/credentials"

// checkConfig reads the configuration; nil when there is none or it is wrong.
func checkConfig(found *[]doctor.Finding, file string) (cfg *config.Config, there bool) {
	add := func(s doctor.State, text, next string) {
		*found = append(*found, doctor.Finding{Check: "configuration", State: s, Text: text, Next: next})
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		add(doctor.Todo, "there is no configuration "+file, "postern schema --example > "+file+", and change it; postern scan finds what is connected")
		return nil, false
	}
	cfg, ps := config.Load(file, gateway.Kinds())
	if len(ps) > 0 {
		add(doctor.Todo, fmt.Sprintf("%s in %s", count(len(ps), "problem"), file), "postern check "+file)
		return nil, true
	}
	add(doctor.OK, fmt.Sprintf("%s is fine: %s", file, count(len(cfg.Nodes), "node")), "")
	if name, ok := strings.CutPrefix(cfg.Account.Password.Credential, "postern_"); ok {
		secret := filepath.Join(credentials, filepath.Base(name))
		if _, err := os.Stat(secret); errors.Is(err, fs.ErrNotExist) {
			add(doctor.Todo, "the service has no credential "+name, "install -m 600 /dev/null "+secret+", and write the password into it")
		}
	}
	for _, n := range filesAway(cfg) {
		add(doctor.Todo, n, "write that file, or correct its path in "+file)
	}
	for _, n := range remarks(cfg) {
		add(doctor.Note, n, "")
	}
	return cfg, true
}

// running asks the gateway itself.
func running(ctx context.Context, cfg *config.Config) []doctor.Finding {
	const check = "gateway"
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	given := ""
	if cfg != nil {
		given = cfg.Local.Socket
	}
	s, err := askStatus(ctx, sockets(given, "postern"))
	switch {
	case errors.Is(err, local.ErrDenied):
		return []doctor.Finding{{Check: check, State: doctor.Note, Text: "this account may not ask the gateway how it is", Next: "sudo postern doctor, or join the group postern"}}
	case errors.Is(err, local.ErrNobody):
		return []doctor.Finding{{Check: check, State: doctor.Note, Text: "no gateway runs", Next: "systemctl start postern, or postern run --config FILE"}}
	case err != nil:
		return []doctor.Finding{{Check: check, State: doctor.Todo, Text: "the gateway does not answer: " + err.Error(), Next: "journalctl -u postern tells what it does"}}
	case len(s.Problems) == 0:
		return []doctor.Finding{{Check: check, State: doctor.OK, Text: "the gateway runs and has no problem"}}
	}
	var out []doctor.Finding
	for _, p := range s.Problems {
		out = append(out, doctor.Finding{Check: check, State: doctor.Todo, Text: p, Next: "postern status shows all of it"})
	}
	return out
}

func showFindings(env *cli.Env, m *doctor.Machine, found []doctor.Finding, all bool) {
	marks := map[doctor.State]string{doctor.OK: "ok  ", doctor.Note: "note", doctor.Todo: "TODO"}
	well, todo := 0, 0
	for _, s := range []doctor.State{doctor.Todo, doctor.Note, doctor.OK} {
		for _, f := range found {
			if f.State != s {
				continue
			}
			switch s {
			case doctor.OK:
				if well++; !all {
					continue
				}
			case doctor.Todo:
				todo++
			}
			fmt.Fprintf(env.Stdout, "%s  %s: %s\n", marks[s], f.Check, printable(f.Text))
			if f.Next != "" {
				fmt.Fprintf(env.Stdout, "        → %s\n", printable(f.Next))
			}
		}
	}
	fmt.Fprintf(env.Stdout, "for the account %s: ", printable(m.User.Name))
	if todo == 0 {
		fmt.Fprintf(env.Stdout, "nothing needs doing, ")
	} else {
		fmt.Fprintf(env.Stdout, "%d to do, ", todo)
	}
	fmt.Fprintf(env.Stdout, "%s well\n", count(well, "check"))
}

type doctorJSON struct {
	Version  int              `json:"version"`
	Healthy  bool             `json:"healthy"`
	User     string           `json:"user"`
	Findings []doctor.Finding `json:"findings"`
}

func writeDoctorJSON(env *cli.Env, m *doctor.Machine, found []doctor.Finding, healthy bool) error {
	enc := json.NewEncoder(env.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doctorJSON{1, healthy, m.User.Name, found})
}
