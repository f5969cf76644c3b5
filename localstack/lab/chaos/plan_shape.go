package chaos

import (
	"math/rand/v2"
	"strings"
)

// drawShape draws the shape of the outbox table. One of four runs has another table than the
// relay's own. The destinations are limited to those that the shape can name.
func (p *Plan) drawShape(o Options) {
	random := rand.New(rand.NewPCG(p.Seed, 0x5a9e)) // the rest of a plan does not depend on it
	switch {
	case len(o.Shapes) > 0:
		p.Shape = o.Shapes[p.Seed%uint64(len(o.Shapes))]
	case random.IntN(4) == 0:
		p.Shape = shapes[1+random.IntN(len(shapes)-1)].name
	case random.IntN(16) == 0:
		p.Shape = several
	}
	switch p.shape().routes {
	case byDefault:
		p.Destinations = p.Destinations[:1]
	case byColumn: // one pattern names destinations of one kind
		for i := range p.Destinations {
			p.Destinations[i] = p.Destinations[0]
		}
	}
}

func (p *Plan) shape() *shape { return shapeOf(p.Shape) }

// fit tells the relay whether events can wait in the table, and replaces the settings that it
// refuses for the shape.
func (p *Plan) fit() {
	switch {
	case p.hasStep("rows deleted at once", "table swapped"): // what is undelivered cannot wait in the table
		p.Settings = append(p.Settings, "RELAY_ROWS_STAY=deny")
	case p.Shape != own && p.shape().repairs:
		p.Settings = append(p.Settings, rowsStay)
	}
	if p.shape().repairs {
		return
	}
	for i, setting := range p.Settings {
		if strings.HasPrefix(setting, "RELAY_RETENTION=") {
			p.Settings[i] = "RELAY_RETENTION=0s"
		}
	}
}

// rowsWait reports whether events behind a dead letter can wait in the table. A table that is
// swapped or partitioned, or loses its rows, may not show them.
func (p *Plan) rowsWait() bool {
	return p.Shape == own && !p.Load.Partitioned && p.setting("RELAY_ROWS_STAY") == ""
}

// allows reports whether a fault suits the plan. No promise covers the loss of the log, or of a
// part of it, if the relay cannot read the table.
func (p *Plan) allows(f *fault) bool {
	if !p.shape().repairs && (f.losesLog || f.skips || f.strands) {
		return false
	}
	if p.Load.Emitted && f.losesLog {
		return false
	}
	return f.needs == nil || f.needs(p)
}

// Shapes returns the names of all shapes but the relay's own.
func Shapes() []string {
	var names []string
	for _, s := range shapes[1:] {
		names = append(names, s.name)
	}
	return names
}
