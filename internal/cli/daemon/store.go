package daemon

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/cli"
	"postern/internal/store"
)

const storeHelp = `Usage: postern store check FILE

Walks every page of a state file and tells whether it is sound. The daemons
run this by themselves in a process of its own before they use their file.

Exit codes: 0 sound, 1 damaged, 2 usage, 3 a daemon has the file open.
`

// Store is the command postern store.
func Store(_ context.Context, env cli.Env, args []string) int {
	f := newFlags("store", storeHelp)
	rest, err := f.parse(&env, args)
	if err == nil && (len(rest) != 2 || rest[0] != "check") {
		err = usagef("postern store check FILE is all there is")
	}
	if err != nil {
		return finish(&env, "store", err)
	}
	err = store.Check(rest[1])
	if errors.Is(err, store.ErrLocked) {
		fmt.Fprintf(env.Stderr, "postern store: %s: %v\n", rest[1], err)
		return store.CheckLocked
	}
	if err == nil {
		fmt.Fprintf(env.Stdout, "%s: sound\n", rest[1])
	}
	return finish(&env, "store", err)
}
