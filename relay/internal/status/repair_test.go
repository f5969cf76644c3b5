package status

import (
	"strings"
	"testing"

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
		s.danger(slot.State{Exists: true, WALStatus: "lost"})
		if len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Next, want) {
			t.Errorf("without %q: %+v, want %q", missing, s.Problems, want)
		}
	}
}
