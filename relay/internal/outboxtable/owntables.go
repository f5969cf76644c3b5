package outboxtable

// OwnTable is one of the relay's own tables.
type OwnTable struct {
	Name       string
	Privileges []string // that the relay needs
	Report     bool     // the relay reports its state there, and works without it
}

// OwnTables are the tables of the relay. RELAY_RETENTION also needs DELETE on the dead letters.
var OwnTables = []OwnTable{
	{Name: "relay_checkpoints", Privileges: []string{"SELECT", "INSERT", "UPDATE"}},
	{Name: "outbox_dead_letters", Privileges: []string{"SELECT", "INSERT", "UPDATE"}},
	{Name: "outbox_replays", Privileges: []string{"SELECT", "INSERT", "UPDATE"}},
	{Name: "relay_members", Privileges: []string{"SELECT", "INSERT", "UPDATE", "DELETE"}},
	{Name: "outbox_deferrals", Privileges: []string{"SELECT", "INSERT", "UPDATE", "DELETE"}},
	{Name: "outbox_pauses", Privileges: []string{"SELECT", "UPDATE"}},
	{Name: "relay_instances", Privileges: []string{"SELECT", "INSERT", "UPDATE", "DELETE"}, Report: true},
}

// OwnDeadLetterSQL is a condition on a dead letter: a relay of this slot parked it, or one of a
// slot without a checkpoint, or an older relay, which did not store its slot. Another slot of the
// table has dead letters and message groups of its own. deadLetter is the name of the dead letter
// in the statement, and slot an expression.
func OwnDeadLetterSQL(deadLetter, slot string) string {
	return `(` + deadLetter + `.slot_name IS NULL OR ` + deadLetter + `.slot_name = ` + slot + `
		OR NOT EXISTS (SELECT FROM relay_checkpoints own WHERE own.slot_name = ` + deadLetter + `.slot_name))`
}

// requiredTables returns the names of the tables without which the relay does not work.
func requiredTables() (names []string) {
	for _, table := range OwnTables {
		if !table.Report {
			names = append(names, table.Name)
		}
	}
	return names
}
