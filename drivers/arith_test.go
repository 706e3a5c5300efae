package drivers

import (
	"errors"
	"math"
	"testing"
)

func TestNumberMulKeepsDigits(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"2301", "0.1", "230.1"},
		{"2300", "0.1", "230.0"},
		{"-40", "0.01", "-0.40"},
		{"7", "10", "70"},
	} {
		a, _ := ParseNumber(c.a)
		b, _ := ParseNumber(c.b)
		got, err := a.Mul(b)
		if err != nil || got.String() != c.want {
			t.Errorf("%s × %s = %s, %v; want %s", c.a, c.b, got, err, c.want)
		}
	}
	if _, err := Num(math.MaxInt64, 0).Mul(Num(2, 0)); !errors.Is(err, ErrRange) {
		t.Errorf("overflow: %v", err)
	}
	if _, err := Num(math.MinInt64, 0).Mul(Num(-1, 0)); !errors.Is(err, ErrRange) {
		t.Errorf("overflow of the least mantissa: %v", err)
	}
}

func TestNumberAdd(t *testing.T) {
	a, _ := ParseNumber("21.5")
	b, _ := ParseNumber("-273.15")
	if got, err := a.Add(b); err != nil || got.String() != "-251.65" {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := Num(math.MaxInt64, 0).Add(Num(1, 0)); !errors.Is(err, ErrRange) {
		t.Errorf("overflow: %v", err)
	}
	if got, err := Num(5, 0).Add(Num(0, 0)); err != nil || got != Num(5, 0) {
		t.Errorf("plus zero: %v %v", got, err)
	}
	if _, err := Num(math.MinInt64, 0).Add(Num(-1, 0)); !errors.Is(err, ErrRange) {
		t.Errorf("underflow: %v", err)
	}
}

func TestNumberQuo(t *testing.T) {
	for _, c := range []struct {
		n, d  string
		exp   int
		want  string
		exact bool
	}{
		{"230.1", "0.1", 0, "2301", true},
		{"230.15", "0.1", 0, "2301", false},
		{"-1", "4", -2, "-0.25", true},
		{"1", "3", -3, "0.333", false},
		{"0", "7", -18, "0.000000000000000000", true},
	} {
		n, _ := ParseNumber(c.n)
		d, _ := ParseNumber(c.d)
		got, exact, err := n.Quo(d, c.exp)
		if err != nil || got.String() != c.want || exact != c.exact {
			t.Errorf("%s ÷ %s = %s exact %v, %v; want %s exact %v", c.n, c.d, got, exact, err, c.want, c.exact)
		}
	}
	if _, _, err := Num(1, 0).Quo(Num(0, 0), 0); !errors.Is(err, ErrRange) {
		t.Errorf("by zero: %v", err)
	}
}

func TestNumberText(t *testing.T) {
	var n Number
	if err := n.UnmarshalText([]byte("0.10")); err != nil || n != Num(10, -2) {
		t.Fatalf("%v %v", n, err)
	}
	if b, _ := n.MarshalText(); string(b) != "0.10" {
		t.Fatalf("%s", b)
	}
	if err := n.UnmarshalText([]byte("warm")); err == nil || n != Num(10, -2) {
		t.Fatalf("a bad number changed n to %v, %v", n, err)
	}
}
