package chaos

import "testing"

func TestNamedFaultsAreInjected(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"slot dropped, broker unavailable", "rows deleted at once", "broker: slow"} {
		o := Options{Versions: []int{0}, Faults: []string{name}, Shapes: []string{own}}
		for seed := range uint64(100) {
			p := NewPlan(seed, o)
			if p.ColdStart && name == "rows deleted at once" { // needs a slot from the start
				continue
			}
			if p.Calm() {
				t.Errorf("seed %d has no fault, although %q is named", seed, name)
			}
		}
	}
}
