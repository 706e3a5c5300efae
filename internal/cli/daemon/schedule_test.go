package daemon

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/cli"
	"postern/internal/local"
)

func TestScheduleCommand(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	cfg := file(t, "account: {jid: gw@site.example, password: {env: PW}}\nserver: {address: \"127.0.0.1:1\"}\nsimulate: true\n"+
		"site: {time_zone: Europe/Berlin, latitude: 52.52, longitude: 13.40}\n"+
		"state: {directory: "+dir+"}\nlocal: {socket: "+socket+"}\nnodes:\n  - {id: lamp, kind: relay, line: \"chip:1\"}\n")
	log, _ := serve(t, Run, nil, "--config", cfg)
	await(t, socket, log)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", 0, "nothing is scheduled"},
		{"add dusk lamp state=on daily sunset-00:15", 0, "dusk: lamp state=true, daily sunset-00:15; next "},
		{"add late lamp state=off mon-fri 23:30 --late 2h", 0, "late: lamp state=false, mon-fri 23:30; next "},
		{"add dusk lamp state=on daily 07:30", 1, "name is taken"},
		{"add x lamp state=maybe daily 07:30", 1, "true or false"},
		{"add x lamp state=on noon 07:30", 1, "no day of the week"},
		{"add x lamp state=on", 2, "NAME NODE PARAMETER=VALUE DAYS TIME"},
		{"add x lamp state daily 07:30", 2, "no assignment"},
		{"ad x", 2, "did you mean add?"},
		{"pause late", 0, "late is paused"},
		{"list", 0, "paused"},
		{"list", 0, "times are those of Europe/Berlin"},
		{"resume late", 0, "late runs again"},
		{"remove late", 0, "late is gone"},
		{"remove late", 1, "no schedule of that name"},
		{"pause", 2, "which one?"},
	} {
		code, out, errs := call(t, Schedule, "", append(strings.Fields(c.args), "--socket", socket)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("schedule %s: %d, %s%s; want %d with %q", c.args, code, out, errs, c.code, c.want)
		}
	}
	code, out, _ := call(t, Schedule, "", "list", "--json", "--socket", socket)
	var all local.Schedules
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all.Schedules) != 1 || all.Schedules[0].Next.IsZero() || all.Schedules[0].Late != 600 {
		t.Errorf("%d %v %s", code, err, out)
	}
	if code, _, errs := call(t, Schedule, "", "--socket", filepath.Join(dir, "none")); code != cli.ExitUnreachable {
		t.Errorf("nobody listens: %d %s", code, errs)
	}
}
