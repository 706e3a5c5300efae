// Package storetest kills programs that use a store, to see what is left.
package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

const (
	pathVariable = "POSTERN_VICTIM"
	fromVariable = "POSTERN_VICTIM_FROM"
)

// Main lets a test program be the one that is killed: call it in TestMain. In a
// process that Live started it runs victim, which goes on from number from with
// the store at path and writes lines to standard output until it is killed;
// else it returns.
func Main(victim func(path string, from int) error) {
	path := os.Getenv(pathVariable)
	if path == "" {
		return
	}
	from, err := strconv.Atoi(os.Getenv(fromVariable))
	if err == nil {
		err = victim(path, from)
	}
	fmt.Fprintln(os.Stderr, "the victim ended by itself:", err)
	os.Exit(1)
}

// Live starts a victim and kills it so long after its first line. line gets each
// line that it wrote; the last one may be cut off.
func Live(tb testing.TB, path string, from int, after time.Duration, line func(text string)) {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), pathVariable+"="+path, fmt.Sprint(fromVariable, "=", from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if timer == nil { // its life is counted from its first line
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		line(lines.Text())
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Success() || exit.Exited() {
		tb.Fatalf("the victim ended by itself: %v", err)
	}
}

// Kills is how often a test kills: POSTERN_KILLS, else 50, and 5 with -short.
func Kills(tb testing.TB) int {
	tb.Helper()
	if testing.Short() {
		return 5
	}
	s := os.Getenv("POSTERN_KILLS")
	if s == "" {
		return 50
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		tb.Fatalf("POSTERN_KILLS: %v", err)
	}
	return n
}
