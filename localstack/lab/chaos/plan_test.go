package chaos

import (
	"slices"
	"testing"
	"time"
)

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

func TestNamedSettingsReplaceDrawnOnes(t *testing.T) {
	t.Parallel()
	o := Options{Versions: []int{0}, Shapes: []string{own}, Settings: []string{
		"RELAY_RETENTION=1s", "RELAY_PARK_AFTER=0s", "RELAY_AWS_CLIENT=direct",
	}}
	for seed := range uint64(100) {
		p := NewPlan(seed, o)
		if p.retention() != time.Second || p.ParkAfter != 0 || p.Client != "direct" {
			t.Errorf("seed %d: %s", seed, p)
		}
		if slices.Contains(p.Settings, "RELAY_RETENTION=0s") {
			t.Errorf("seed %d has two settings: %v", seed, p.Settings)
		}
	}
}
