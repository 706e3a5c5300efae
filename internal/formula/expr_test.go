package formula

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	lang "github.com/expr-lang/expr"

	"postern/drivers"
)

// What a formula shares with the expression language of expr-lang/expr means
// the same in both: an implementation that nobody here wrote is the judge.
func TestAgreesWithExpr(t *testing.T) {
	env := map[string]any{
		"tank": map[string]any{"level": 79.9, "max": 80, "empty": 0},
		"door": map[string]any{"open": false, "locked": true},
		"mode": map[string]any{"now": "auto"},
	}
	src := readings(map[string]drivers.Value{
		"tank.level": num("79.9"), "tank.max": drivers.Int(80), "tank.empty": drivers.Int(0),
		"door.open": drivers.Bool(false), "door.locked": drivers.Bool(true), "mode.now": drivers.Enum("auto"),
	})
	g := generator{rand.New(rand.NewPCG(1, 2))}
	known := 0
	for range 20_000 {
		var text string
		if g.IntN(2) == 0 {
			text = g.number(4)
		} else {
			text = g.truth(4)
		}
		p, err := lang.Compile(text, lang.Env(env))
		if err != nil {
			t.Fatalf("%s: expr: %v", text, err)
		}
		want, err := lang.Run(p, env)
		if err != nil {
			t.Fatalf("%s: expr: %v", text, err)
		}
		f, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		v, ok, _ := f.Value(src)
		if !ok { // a division by zero, or what does not fit: expr has infinities there
			continue
		}
		known++
		if !agree(v, want) {
			t.Errorf("%s is %s, expr says %v", text, v, want)
		}
	}
	if known < 15_000 {
		t.Errorf("only %d formulas had a value", known)
	}
}

func agree(v drivers.Value, want any) bool {
	switch w := want.(type) {
	case bool:
		b, ok := v.Bool()
		return ok && b == w
	case int:
		n, ok := v.Number()
		return ok && math.Abs(n.Float64()-float64(w)) <= 1e-6*(1+math.Abs(float64(w)))
	case float64:
		n, ok := v.Number()
		return ok && math.Abs(n.Float64()-w) <= 1e-6*(1+math.Abs(w))
	}
	return false
}

// generator writes formulas that both languages know. It keeps every number
// apart from the others by more than rounding, so that comparisons are certain:
// it compares only readings and literals.
type generator struct{ *rand.Rand }

func (g generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g generator) atom() string {
	return g.pick("tank.level", "tank.max", "tank.empty", "1", "2.5", "0.125", "79.9", "100")
}

func (g generator) number(depth int) string {
	if depth == 0 {
		return g.atom()
	}
	a, b := g.number(depth-1), g.number(depth-1)
	switch g.IntN(8) {
	case 0:
		return fmt.Sprintf("%s(%s, %s)", g.pick("min", "max"), a, b)
	case 1:
		return fmt.Sprintf("abs(%s)", a)
	case 2:
		return fmt.Sprintf("-(%s)", a)
	case 3:
		return fmt.Sprintf("(%s ? %s : %s)", g.truth(depth-1), a, b)
	case 4:
		return fmt.Sprintf("(%s)", a)
	}
	return fmt.Sprintf("(%s) %s (%s) %s %s", a, g.pick("+", "-", "*"), b, g.pick("+", "-", "*", "/"), g.atom())
}

func (g generator) truth(depth int) string {
	if depth == 0 {
		return g.pick("door.open", "door.locked", "true", "false", "mode.now == 'auto'", "mode.now != 'off'")
	}
	switch g.IntN(4) {
	case 0:
		return fmt.Sprintf("not (%s)", g.truth(depth-1))
	case 1:
		return fmt.Sprintf("%s %s %s", g.atom(), g.pick("<", "<=", ">", ">=", "==", "!="), g.atom())
	}
	return fmt.Sprintf("(%s) %s %s", g.truth(depth-1), g.pick("and", "or"), g.truth(0))
}
