package status

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// A lost slot is a gap that only a table with a sequence and a transaction id repairs.
func TestALostSlotSaysWhetherTheRelayRepairsIt(t *testing.T) {
	t.Parallel()
	for missing, want := range map[string]string{"": "repairs the gap by itself", "repair": "recover --accept-loss"} {
		s := testStatus()
		if missing != "" {
			s.Relays[0].MissingGuarantees = []string{"audit", missing}
		}
		s.gap = "the server has invalidated the slot"
		s.judgeGap()
		if len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Next, want) {
			t.Errorf("without %q: %+v, want %q", missing, s.Problems, want)
		}
	}
}

// TestOnlyALossOfLogIsAGap: the row is the one that a relay has written last.
func TestOnlyALossOfLogIsAGap(t *testing.T) {
	t.Parallel()
	row := func(r *checkpoint.Recovery) *checkpoint.Row {
		return &checkpoint.Row{Position: checkpoint.Position{FlushLSN: 16}, Recovery: r}
	}
	marked := &checkpoint.Recovery{From: "3:3:"}
	for name, c := range map[string]struct {
		row   *checkpoint.Row
		state slot.State
		want  bool
	}{
		"intact":                   {row(nil), slot.State{Exists: true, ConfirmedFlushLSN: 16}, false},
		"lost":                     {row(nil), slot.State{Exists: true, WALStatus: "lost"}, true},
		"created again":            {row(nil), slot.State{Exists: true, ConfirmedFlushLSN: 17}, true},
		"gone":                     {row(nil), slot.State{}, true},
		"gone, a relay creates it": {row(marked), slot.State{}, false},
		"lost before first use":    {nil, slot.State{Exists: true, WALStatus: "lost"}, false},
	} {
		if got := losesLog(c.row, c.state); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
