package relay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/watch"
)

// numberTables gives each of several tables its number, and stores them. The rows of a slot that
// had one table so far get the name of all.
func (r *relay) numberTables(ctx context.Context, h *leadership.HeldSlot) error {
	if !r.Table.IsSeveral() {
		return nil
	}
	fingerprint, err := r.fingerprintOfSeveral(ctx, h)
	if err != nil {
		return err
	}
	former := members.Former{Tables: h.Row.Tables, Key: h.Row.Table, Fingerprint: fingerprint}
	if r.Table, h.Row.Tables, err = members.Number(ctx, r.pool, h.Fence, r.Table, former); err != nil {
		return err
	}
	h.Row.Fingerprint = fingerprint
	r.Metrics.Tables(len(r.Table.Each()))
	if h.Row.Recovery == nil {
		return nil
	}
	return members.NewStore(r.pool, h.Fence, r.Table).Doubt(ctx)
}

// confirmTables looks at the tables again, while this relay holds the slot. A standby may have
// waited for days since it looked at them. If they have changed, another session begins. A recovery
// of this session would otherwise end without the rows of the new tables, and the session would not
// know the rows that a table got under another name.
func (r *relay) confirmTables(ctx context.Context, h *leadership.HeldSlot) error {
	changed, err := members.IsChanged(ctx, r.pool, r.Table)
	switch {
	case err != nil:
		return err
	case changed:
		return watch.ErrTablesChanged
	case !r.Table.IsSeveral():
		return nil
	}
	return r.acquirer().CheckTables(ctx, h.Row)
}

// fingerprintOfSeveral returns the fingerprint for the checkpoint row. That of one table is
// replaced while the publication is the same.
func (r *relay) fingerprintOfSeveral(ctx context.Context, h *leadership.HeldSlot) (string, error) {
	row := h.Row
	if row.Table == r.Table.Key() || row.Tables != nil || slot.IsOfSeveral(row.Fingerprint) {
		return row.Fingerprint, nil
	}
	several, err := slot.Fingerprint(ctx, r.pool, r.publication())
	if err != nil {
		return "", err
	}
	one, err := slot.Fingerprint(ctx, r.pool, slot.Publication{Name: r.Publication, Table: row.Table})
	switch {
	case err != nil:
		return "", err
	case one == row.Fingerprint:
		return several, nil
	case row.Recovery != nil: // it stores another one at its end
		return row.Fingerprint, nil
	}
	return "", audit.ErrPublicationChanged
}

// checkNew checks the tables that came since the last session, and tells which came and which went.
func (r *relay) checkNew(ctx context.Context, table outboxtable.Table) error {
	if !table.IsSeveral() {
		return nil
	}
	r.Health.Retries("the search for the tables of RELAY_TABLE", r.unmatched(table))
	before, had := r.Table, r.hasTables
	r.hasTables = true
	if !had { // package preflight has checked them
		r.Log.Info("outbox tables", "event", "tables", "slot", r.Slot, "tables", len(table.Each()))
		return nil
	}
	came, went := members.Changes(before, table)
	if went != "" {
		r.brought = nil // it may have seqs of a table whose name another one took
		r.Log.Warn("outbox tables are no longer there, or no longer in the publication",
			"event", "tables_left", "slot", r.Slot, "tables", went)
	}
	if came == "" {
		return nil
	}
	r.Log.Info("new outbox tables in the publication", "event", "tables_joined", "slot", r.Slot, "tables", came)
	if r.CheckTables == nil {
		return nil
	}
	return r.checkPieces(ctx, members.Since(before, table))
}

// unmatched returns an error that lists the names and patterns of RELAY_TABLE for which the
// publication has no table, or nil. A mistake may be the reason, and relay status shows it.
func (r *relay) unmatched(table outboxtable.Table) error {
	var lacking []string
	for _, p := range table.Several.Patterns {
		isMatch := func(one outboxtable.Table) bool { return p.Matches(one.Schema, one.Name) }
		if !slices.ContainsFunc(table.Each(), isMatch) {
			lacking = append(lacking, p.String())
		}
	}
	if lacking == nil {
		return nil
	}
	return fmt.Errorf("publication %s has no table %s: add the table to it, which refuses an UNLOGGED one, or remove "+
		"the name from RELAY_TABLE",
		r.Publication, strings.Join(lacking, ", "))
}

// checkedAtOnce is how many new tables are checked before the relay remembers that they passed.
const checkedAtOnce = 100

// checkPieces checks new tables. Those that passed belong to the tables of the relay, so a session
// that ends in between does not check them again.
func (r *relay) checkPieces(ctx context.Context, came outboxtable.Table) error {
	for piece := range slices.Chunk(came.Each(), checkedAtOnce) {
		if err := r.CheckTables(ctx, r.pool, came.WithTables(piece)); err != nil {
			return err
		}
		r.Table = r.Table.WithTables(slices.Concat(r.Table.Each(), piece))
	}
	return nil
}

// unknownTable ends the session if the table belongs to those of the relay by now. Otherwise it
// returns the number of the table, so that its rows in the log wait behind those of a deferral. The
// log may have rows of a former table of the same name, with another oid.
func (s *session) unknownTable(oid uint32, schema, name string) (number int64, err error) {
	ctx, end := s.lookUp()
	defer end()
	now, err := members.Look(ctx, s.pool, s.Table)
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(now.Each(), func(one outboxtable.Table) bool { return one.Relation == oid }) {
		return 0, watch.ErrTablesChanged
	}
	s.Log.Warn("the log has rows of a table that no longer has this name, or that is no longer in the publication: "+
		"the relay delivers them", "event", "table_gone", "slot", s.Slot,
		"table", outboxtable.Table{Schema: schema, Name: name}.String())
	return s.outside().Number(ctx, oid, schema, name)
}

// outside finds the tables of the slot that are not streamed.
func (s *session) outside() *members.Outside {
	return &members.Outside{Pool: s.pool, Slot: s.Slot, Table: s.Table, Tables: s.held.Row.Tables}
}
