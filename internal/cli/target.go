package cli

import (
	"mellium.im/xmpp/jid"

	"postern/sensors"
)

// target is what a command is about.
type target struct {
	address string // as given
	account Account
	jid     jid.JID
	req     sensors.Request
}

// target reads the thing's address and the account.
func (e *Env) target(t *target, opt common) error {
	var err error
	if t.jid, err = parseThing(t.address); err != nil {
		return err
	}
	path, err := AccountPath(e, opt.account)
	if err != nil {
		return err
	}
	t.account, err = LoadAccount(path)
	return err
}
