package checkpointer

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/health"
)

// warnInterval is the time between two warnings about the same danger.
const warnInterval = time.Minute

// dangerLog warns while the server may soon remove the log that the slot needs.
type dangerLog struct {
	slot   string
	health *health.Health
	log    *slog.Logger
	warned time.Time // zero while there is no danger
}

func (g *dangerLog) report(danger string) {
	g.health.Warn(danger)
	switch {
	case danger == "" && !g.warned.IsZero():
		g.warned = time.Time{}
		g.log.Info("the slot is out of danger", "event", "slot_out_of_danger", "slot", g.slot)
	case danger != "" && time.Since(g.warned) >= warnInterval:
		g.warned = time.Now()
		g.log.Warn("the slot is in danger", "event", "slot_in_danger", "slot", g.slot, "danger", danger)
	}
}
