package pgoutput_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// described is a table with a constant and two further columns.
func described() outboxtable.Table {
	return outboxtable.Table{
		Schema: "public", Name: "ev",
		Columns:   outboxtable.Columns{ID: "id", Payload: "payload"},
		Constants: outboxtable.Columns{EventType: "made"},
		Extra: []outboxtable.Extra{
			{Setting: "RELAY_ORDER_KEY", Column: "region"},
			{Setting: "RELAY_ORDER_KEY", Column: "shop", Alternatives: []string{"shop", "store"}},
		},
		Existing: []string{"id", "payload", "region", "shop"},
	}
}

func TestConstantsAndFurtherColumnsAreRead(t *testing.T) {
	t.Parallel()
	got := decodeAll(t, pgoutput.NewDecoder(described()), begin(10, 1),
		relationMessage(1, "public", "ev", "id", "region", "payload", "shop"),
		insertMessage(1, text("a"), text("eu"), text("{}"), nil),
		relationMessage(1, "public", "ev", "id", "region", "payload", "store"),
		insertMessage(1, text("b"), nil, text("[]"), text("7")))
	want := []outbox.Envelope{
		{ID: "a", EventType: "made", Payload: "{}", Extra: []string{"eu", ""}},
		{ID: "b", EventType: "made", Payload: "[]", Extra: []string{"", "7"}},
	}
	if diff := cmp.Diff(want, []outbox.Envelope{got[2].Row, got[4].Row}); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestRowsOlderThanAFurtherColumnAreRead: the column was added while they were in the log.
func TestRowsOlderThanAFurtherColumnAreRead(t *testing.T) {
	t.Parallel()
	got := decodeAll(t, pgoutput.NewDecoder(described()), begin(10, 1),
		relationMessage(1, "public", "ev", "id", "payload", "shop"),
		insertMessage(1, text("a"), text("{}"), text("7")))
	want := outbox.Envelope{ID: "a", EventType: "made", Payload: "{}", Extra: []string{"", "7"}}
	if diff := cmp.Diff(want, got[2].Row); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestARenamedFurtherColumnIsNamed(t *testing.T) {
	t.Parallel()
	d := pgoutput.NewDecoder(described())
	decodeAll(t, d, begin(10, 1), relationMessage(1, "public", "ev", "id", "region", "payload", "shop"))
	_, err := d.Decode(relationMessage(1, "public", "ev", "id", "area", "payload", "shop"))
	var missing *pgoutput.MissingColumnError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "write region|area for it in RELAY_ORDER_KEY") {
		t.Errorf("%v", err)
	}
}
