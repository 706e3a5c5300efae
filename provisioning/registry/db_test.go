package registry

import (
	"testing"

	"postern/provisioning/registry/state"
	"postern/provisioning/registry/state/statetest"
)

func TestState(t *testing.T) {
	statetest.Test(t, func(t *testing.T) statetest.Opener {
		k := newKept(t)
		return func() state.DB { return k.open() }
	})
}
