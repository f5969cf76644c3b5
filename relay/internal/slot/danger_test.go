package slot_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

func TestDangerIsReportedBeforeTheSlotIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		status      string
		safe, limit int64
		want        string // part of the warning; empty: none
	}{
		{"no slot", "", -1, 100, ""},
		{"no limit", "reserved", -1, -1, ""},
		{"no limit, and more than max_wal_size", "extended", -1, -1, "watch the free space"},
		{"half of the limit left", "reserved", 50, 100, ""},
		{"less than half of the limit left", "reserved", 49, 100, "is lost after 49 more"},
		{"less than half of the limit left, more than max_wal_size", "extended", 49, 100, "is lost after 49 more"},
		{"beyond the limit", "unreserved", -5, 100, "next checkpoint"},
		{"lost", "lost", -1, 100, "publishes from the table"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			state := slot.State{WALStatus: c.status, RetainedWAL: 60, SafeWALSize: c.safe, KeepLimit: c.limit}
			observed := slot.Observation{WALStatus: c.status, RetainedWAL: 60, SafeWALSize: c.safe, KeepLimit: c.limit}
			if got := state.Danger(); got != observed.Danger() || (got == "") != (c.want == "") ||
				!strings.Contains(got, c.want) {
				t.Errorf("%q and %q, want %q", got, observed.Danger(), c.want)
			}
		})
	}
}
