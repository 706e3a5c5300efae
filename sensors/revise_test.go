package sensors

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/node"
)

// revocable takes rights away.
type revocable struct {
	node.Access
	gone atomic.Bool
}

func (a *revocable) CanRead(ctx context.Context, r node.Request) (node.Decision, error) {
	if a.gone.Load() {
		return node.Decision{}, nil
	}
	return a.Access.CanRead(ctx, r)
}

// Read-outs whose right ends while they go on end, with a failure that says
// so: one that waits for its device, and one that waits for its time.
func TestReadoutsEndWithTheRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := temperature("1")
		slow.delay = 30 * time.Second
		var a *revocable
		r := start(t, []node.Node{thermo("room")}, map[string]Device{"room": {Device: slow, Fresh: -1, Timeout: time.Minute}}, func(c *Config) {
			a = &revocable{Access: c.Access}
			c.Access = a
		})
		defer r.stop()
		r.recv(alice, req("a1", "seqnr='1' momentary='true'", ""))
		r.recv(alice, req("a2", "seqnr='2' momentary='true' when='2000-01-01T00:10:00Z'", ""))
		time.Sleep(time.Second)
		synctest.Wait()
		r.out()
		r.svc.Revise(t.Context())
		want(t, r.out()) // rights have changed, but not these
		a.gone.Store(true)
		r.svc.Revise(t.Context())
		out := r.out()
		if len(out) == 2 && out[0] > out[1] { // in no order
			out[0], out[1] = out[1], out[0]
		}
		want(t, out, "seqnr='1' done='true'", "seqnr='2' done='true'")
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, r.out())
		// And the number is free again.
		a.gone.Store(false)
		slow.set(func(p *probe) { p.delay = 0 })
		r.recv(alice, req("a3", "seqnr='1' momentary='true'", ""))
		synctest.Wait()
		want(t, r.out(), "seqnr='1'/></iq>", "<numeric", "done='true'")
	})
}
