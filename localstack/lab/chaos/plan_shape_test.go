package chaos

import (
	"slices"
	"testing"
)

func TestPlansKeepToThePromisesOfTheirTable(t *testing.T) {
	t.Parallel()
	flags := faultsByName()
	o := Options{Versions: []int{0}}
	drawn := map[string]int{}
	emitted, emittedBeside, large := 0, 0, 0
	const seeds = 1000
	for seed := range uint64(seeds) {
		p := NewPlan(seed, o)
		drawn[p.Shape]++
		if p.shape().routes == byDefault && len(p.Destinations) != 1 {
			t.Errorf("seed %d: %s routes to %v", seed, p.Shape, p.Destinations)
		}
		if p.Load.Emitted {
			emitted++
			if p.Shape == several {
				emittedBeside++
			}
			p.mustKeepLog(t, flags)
		}
		if p.Load.Large {
			large++
		}
		if p.shape().repairs {
			continue
		}
		for _, s := range p.Steps {
			if f := flags[s.Fault]; f.losesLog || f.skips || f.strands {
				t.Errorf("seed %d: %s, and nothing repairs %s", seed, f.name, p.Shape)
			}
		}
		if p.ColdStart || p.setting("RELAY_RETENTION") != "0s" {
			t.Errorf("seed %d: the relay refuses %v of %s", seed, p.Settings, p.Shape)
		}
	}
	for _, s := range shapes {
		if drawn[s.name] == 0 {
			t.Errorf("no seed draws the table %q", s.name)
		}
	}
	if foreign := seeds - drawn[own]; foreign < seeds/5 || foreign > seeds/3 {
		t.Errorf("%d of %d runs have another table than the relay's own", foreign, seeds)
	}
	if emitted < seeds/10 || large < seeds/10 {
		t.Errorf("%d of %d runs have events without a row, and %d have large ones", emitted, seeds, large)
	}
	if emittedBeside < drawn[several]/10 {
		t.Errorf("%d of %d runs of several tables have events without a row", emittedBeside, drawn[several])
	}
}

func TestEveryRunCanHaveEmittedEvents(t *testing.T) {
	t.Parallel()
	flags := faultsByName()
	joins := 0
	for _, shape := range []string{own, several} {
		for seed := range uint64(100) {
			p := NewPlan(seed, Options{Versions: []int{0}, Shapes: []string{shape}, Emitted: true})
			if !p.Load.Emitted {
				t.Errorf("seed %d of the table %q has no emitted event", seed, shape)
			}
			p.mustKeepLog(t, flags)
			if p.hasStep("table joins", "crash: table joins") {
				joins++
			}
		}
	}
	if joins < 10 {
		t.Errorf("a table joins in %d runs with emitted events", joins)
	}
}

func faultsByName() map[string]fault {
	named := map[string]fault{}
	for _, f := range slices.Concat(faults, brokerFaults) {
		named[f.name] = f
	}
	return named
}

// mustKeepLog checks that no event of the log is older than the slot, or lost with it.
func (p *Plan) mustKeepLog(t *testing.T, flags map[string]fault) {
	t.Helper()
	for _, s := range p.Steps {
		if flags[s.Fault].losesLog {
			t.Errorf("seed %d: %s, and events without a row", p.Seed, s.Fault)
		}
	}
	if p.ColdStart || !p.emits() {
		t.Errorf("seed %d: cold start %t of table %q, and events without a row", p.Seed, p.ColdStart, p.Shape)
	}
}
