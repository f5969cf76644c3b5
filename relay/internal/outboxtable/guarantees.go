package outboxtable

import (
	"strings"
)

// Guarantee is a promise of the relay that needs more of the outbox table than an id and a payload.
// relay/docs/table.md has the list as a table, and a test compares both.
type Guarantee struct {
	Name    string
	Promise string
	Without string // the consequence

	has func(Table) bool
}

// Guarantees are all of them. Those that read the table need the writing transaction, which tells
// the events that are delivered, and the sequence, by which rows are read in pages.
var Guarantees = []Guarantee{
	{
		"order", "the events of one aggregate arrive in commit order at a FIFO destination",
		"each event is its own message group, and no order is kept", Table.HasOrder,
	},
	{
		"repair", "the loss of the slot loses no event",
		"when the slot cannot bring every event, the relay ends and says since when some may be lost. relay " +
			"recover --accept-loss continues without them", Table.IsRepairable,
	},
	{
		"first start", "a first start publishes the existing rows (RELAY_START=table or since:…)",
		"a first start needs RELAY_START=now: it delivers the events that are committed once the relay has created " +
			"its slot", Table.IsRepairable,
	},
	{
		"audit", "rows that enter the table past the log are found and published (RELAY_AUDIT)",
		"the relay does not notice such rows", Table.IsRepairable,
	},
	{
		"deferral", "events of an unavailable destination wait in the table (RELAY_PARK_AFTER)",
		"they become dead letters", Table.IsRepairable,
	},
	{
		"retention", "the relay removes delivered rows (RELAY_RETENTION)",
		"remove rows by your own means, and only after their delivery", Table.IsRepairable,
	},
	{
		"replay", "delivered events can be sent again (relay replay)", "relay replay refuses",
		Table.IsRepairable,
	},
}

// MissingGuarantees returns those that the table does not allow. A table without an aggregate is no
// limit of destinations that keep no order.
func MissingGuarantees(t Table, isFIFO bool) []Guarantee {
	var missing []Guarantee
	for _, g := range Guarantees {
		if !g.has(t) && (isFIFO || g.Name != "order") {
			missing = append(missing, g)
		}
	}
	return missing
}

// WhyNotRepairable names the columns that the table lacks, as in "table public.events has no column
// that numbers its rows (RELAY_COLUMN_SEQUENCE)".
func WhyNotRepairable(t Table) string {
	var lacks []string
	if t.Columns.Sequence == "" {
		lacks = append(lacks, "no column that numbers its rows (RELAY_COLUMN_SEQUENCE)")
	}
	if t.Columns.XID == "" {
		lacks = append(lacks, "no column with the writing transaction (RELAY_COLUMN_XID)")
	}
	return "table " + t.String() + " has " + strings.Join(lacks, " and ")
}
