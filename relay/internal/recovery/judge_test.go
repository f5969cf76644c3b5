package recovery_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

func TestGapIsFoundWhenTheSlotMayMissEvents(t *testing.T) {
	t.Parallel()
	const (
		gone      = "the slot is gone"
		unsaid    = "the server has invalidated the slot: wal_status is lost"
		removed   = "the server has invalidated the slot: wal_removed"
		ahead     = "confirmed_flush_lsn 0/1001 is ahead of the checkpoint 0/1000: "
		again     = ahead + "another client created the slot again or advanced it"
		aheadSync = ahead + "the former primary was lost before it sent a checkpoint to this server, " +
			"or another client advanced the slot"
		missing   = "the audit found events in the outbox table that the stream did not bring"
		published = "the publication was changed: rows written in the meantime may not have been streamed"
	)
	for _, c := range []struct {
		name   string
		change func(*checkpoint.Row, *slot.State)
		want   string
	}{
		{"all is well", func(*checkpoint.Row, *slot.State) {}, ""},
		{"no slot", func(_ *checkpoint.Row, s *slot.State) { *s = slot.State{} }, gone},
		{"lost, without a reason", func(_ *checkpoint.Row, s *slot.State) { s.WALStatus = "lost" }, unsaid},
		{"lost", func(_ *checkpoint.Row, s *slot.State) {
			s.WALStatus, s.InvalidReason = "lost", "wal_removed"
		}, removed},
		{"invalidated, with its log in place", func(_ *checkpoint.Row, s *slot.State) {
			s.InvalidReason = "wal_removed"
		}, removed},
		{"a recovery with its end", func(r *checkpoint.Row, _ *slot.State) {
			r.Recovery = &checkpoint.Recovery{From: "3:3:", To: "9:9:"}
		}, ""},
		{"behind the row", func(_ *checkpoint.Row, s *slot.State) { s.ConfirmedFlushLSN = 0xfff }, ""},
		{"ahead of the row", func(_ *checkpoint.Row, s *slot.State) { s.ConfirmedFlushLSN = 0x1001 }, again},
		{"ahead of the row, from the former primary", func(_ *checkpoint.Row, s *slot.State) {
			s.ConfirmedFlushLSN, s.Synced = 0x1001, true
		}, aheadSync},
		{"from the former primary", func(_ *checkpoint.Row, s *slot.State) { s.Synced = true }, ""},
		{"another publication", func(r *checkpoint.Row, _ *slot.State) { r.Fingerprint = "before" }, published},
		{"another publication, from the former primary", func(r *checkpoint.Row, s *slot.State) {
			r.Fingerprint, s.Synced = "before", true
		}, published},
		{"events that were not streamed", func(r *checkpoint.Row, s *slot.State) {
			r.Fingerprint, s.Synced = checkpoint.EventsMissing, true
		}, missing},
		{"lost, from the former primary", func(_ *checkpoint.Row, s *slot.State) {
			s.WALStatus, s.Synced = "lost", true
		}, unsaid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			row := &checkpoint.Row{Position: checkpoint.Position{FlushLSN: 0x1000}, Fingerprint: "now"}
			state := slot.State{Exists: true, WALStatus: "reserved", ConfirmedFlushLSN: 0x1000}
			c.change(row, &state)
			if got := recovery.Gap(row, state, "now"); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
