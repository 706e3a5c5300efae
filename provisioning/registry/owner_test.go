package registry

import (
	"context"
	"errors"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
	"postern/xmpp"
)

// The owner's client against the service.
func TestTheOwnersClient(t *testing.T) {
	l := newLab(t)
	ctx, device := context.Background(), jid.MustParse("thing@a.example")
	l.ok(thing, "<register>"+tags+"</register>", "")
	mine := provisioning.Mine{Tags: []provisioning.Tag{{Name: "KEY", Value: "k42"}, {Name: "SN", Value: "42"}, {Name: "V", Numeric: true, Value: "1.2"}}}
	client := func(from string) provisioning.Registry {
		return provisioning.Registry{Session: &link{l: l, from: from}, Addr: l.Addr()}
	}
	me, other := client(owner), client(other1)
	if c, err := me.Claim(ctx, mine); err != nil || !c.JID.Equal(device) || c.Private {
		t.Fatalf("%+v, %v", c, err)
	}
	gone := &xmpp.Error{Condition: xmpp.ItemNotFound}
	if _, err := other.Claim(ctx, mine); !errors.Is(err, gone) {
		t.Error(err)
	}
	if err := me.Update(ctx, device, provisioning.Ref{}, []provisioning.Tag{{Name: "ROOM", Value: "1"}}); err != nil {
		t.Error(err)
	}
	if err := other.Update(ctx, device, provisioning.Ref{}, []provisioning.Tag{{Name: "ROOM", Value: "2"}}); !errors.Is(err, gone) {
		t.Error(err)
	}
	f, err := other.Search(ctx, provisioning.Search{Ops: []provisioning.Op{{Tag: "ROOM", Value: "1"}}})
	if err != nil || len(f.Things) != 1 || f.More || !f.Things[0].JID.Equal(device) || f.Things[0].Owner.String() != "owner@a.example" || len(f.Things[0].Tags) != 3 {
		t.Errorf("%+v, %v", f, err)
	}
	for _, err := range []error{other.Remove(ctx, device, provisioning.Ref{}), other.Disown(ctx, device, provisioning.Ref{})} {
		if !errors.Is(err, gone) {
			t.Error(err)
		}
	}
	if err := me.Remove(ctx, device, provisioning.Ref{}); err != nil {
		t.Error(err)
	}
	if f, err = other.Search(ctx, provisioning.Search{Ops: []provisioning.Op{{Tag: "ROOM", Value: "1"}}}); err != nil || len(f.Things) != 0 {
		t.Errorf("%+v, %v", f, err)
	}
}
