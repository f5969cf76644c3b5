package status

import (
	"context"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// findGap sets gap if the slot cannot bring every event that row counts as undelivered. The row was
// read before the slot. A relay may have written it since, so the row is read again.
func (s *Status) findGap(ctx context.Context, store *checkpoint.Store, row *checkpoint.Row) error {
	if !losesLog(row, s.state) {
		return nil
	}
	now, err := store.Load(ctx)
	if err != nil {
		return err
	}
	if losesLog(now, s.state) && now.Epoch == row.Epoch {
		s.gap = recovery.Gap(now, s.state, now.Fingerprint)
	}
	return nil
}

// losesLog reports whether the row needs a part of the log that the slot does not bring. A marked
// recovery needs no slot: a first start and the repair of a gap create one.
func losesLog(row *checkpoint.Row, state slot.State) bool {
	return row != nil && !row.Recovery.IsMarked() && recovery.LosesLog(row, state)
}

// judgeGap adds the loss of the slot.
func (s *Status) judgeGap() {
	if s.gap == "" {
		return
	}
	next := "start a relay, or restart one that hangs: it repairs the gap by itself, or its log names the " +
		"command that continues"
	if !s.repairs() {
		next = "find out which events are lost, then continue without them: relay recover --accept-loss"
	}
	s.add(Critical, "slot_lost", "Slot lost", next, "slot %s cannot bring every event: %s", s.Slot.Name, s.gap)
}

// judgeDanger adds the danger that a delay brings to the slot.
func (s *Status) judgeDanger() {
	danger := s.state.Danger()
	switch {
	case s.gap != "":
	case danger == "" || s.state.Lost(): // a lost slot that no checkpoint needs is created again
	case s.state.WALStatus == "extended":
		s.add(Warning, "slot_holds_log", "Slot holds log back", "see the other problems: delivery is delayed",
			"slot %s: %s", s.Slot.Name, danger)
	default:
		s.add(Critical, "slot_in_danger", "Slot in danger", "raise max_slot_wal_keep_size now, then see the other "+
			"problems",
			"slot %s: %s", s.Slot.Name, danger)
	}
}

// repairs reports whether the relay can publish events from the table that a lost slot does not
// bring. It goes by the reports of the relays.
func (s *Status) repairs() bool {
	return !slices.ContainsFunc(s.Relays, func(r Relay) bool { return slices.Contains(r.MissingGuarantees, "repair") })
}
