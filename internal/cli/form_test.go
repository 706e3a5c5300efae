package cli

import (
	"testing"

	"postern/control"
	"postern/drivers"
	"postern/internal/node"
)

func TestFitChecksAgainstTheForm(t *testing.T) {
	number := control.Field{Kind: drivers.KindNumber, Writable: true, Min: "5", Max: "30.5"}
	choice := control.Field{Kind: drivers.KindEnum, Writable: true, Options: []node.Option{{Value: "eco"}, {Value: "day"}}}
	open := choice
	open.Open, open.Regex = true, "[0-9]+|x"
	for _, c := range []struct {
		field      control.Field
		text, want string
		fault      string
	}{
		{number, "21.50", "21.50", ""}, {number, "4.9", "", "must be at least 5"}, {number, "30.51", "", "must be at most 30.5"}, {number, "warm", "", "must be a decimal number of at most 18 digits"},
		{choice, "eco", "eco", ""}, {choice, "night", "", "must be one of the choices"},
		{open, "eco", "eco", ""}, {open, "12", "12", ""}, {open, "12y", "", "must look like [0-9]+|x"},
		{control.Field{Kind: drivers.KindBool, Writable: true}, "On", "true", ""}, {control.Field{Kind: drivers.KindBool, Writable: true}, "maybe", "", "must be true or false"},
		{control.Field{Kind: drivers.KindBool}, "on", "", "cannot be changed"},
	} {
		got, fault := fit(&c.field, c.text)
		if got != c.want || fault != c.fault {
			t.Errorf("%+v %q: %q, %q; want %q, %q", c.field, c.text, got, fault, c.want, c.fault)
		}
	}
}
