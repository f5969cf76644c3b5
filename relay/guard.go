package relay

import "time"

// warnInterval is between two warnings about the same danger.
const warnInterval = time.Minute

// guard warns while the server may soon take away the log that the slot needs.
type guard struct {
	*relay
	warned time.Time // zero while there is no danger
}

func (g *guard) saw(danger string) {
	g.Health.Warn(danger)
	switch {
	case danger == "" && !g.warned.IsZero():
		g.warned = time.Time{}
		g.Log.Info("the slot is out of danger", "event", "slot_out_of_danger", "slot", g.Slot)
	case danger != "" && time.Since(g.warned) >= warnInterval:
		g.warned = time.Now()
		g.Log.Warn("the slot is in danger", "event", "slot_in_danger", "slot", g.Slot, "danger", danger)
	}
}
