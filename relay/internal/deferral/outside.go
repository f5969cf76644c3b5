package deferral

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// Finder finds a table of the slot that the publication does not stream now. It returns nil if no
// table has the name. exists then reports whether the table may exist under another name.
type Finder func(ctx context.Context, name string) (table *outboxtable.Table, exists bool, err error)

// outsideInterval is how often a table that is not streamed is looked for.
const outsideInterval = 2 * time.Second

// outside has the tables that deferrals name and that the publication does not stream now. Their
// rows wait all the same: the position is behind them.
type outside struct {
	find   Finder
	rowsOf func(outboxtable.Table) tableRows

	mu      sync.Mutex
	tables  map[string]*outsideTable
	missing map[string]bool
}

// outsideTable is a table as it was found last.
type outsideTable struct {
	rows      *tableRows // nil if it was never found
	isPresent bool
	exists    bool
	lookedAt  time.Time
}

// look returns a table, and looks for it if the last look is long ago.
func (o *outside) look(ctx context.Context, name string) (outsideTable, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.tables[name]
	if t == nil {
		t = &outsideTable{}
		if o.tables == nil {
			o.tables = map[string]*outsideTable{}
		}
		o.tables[name] = t
	}
	if time.Since(t.lookedAt) < outsideInterval {
		return *t, nil
	}
	table, exists, err := o.find(ctx, name)
	if err != nil {
		return *t, err
	}
	t.isPresent, t.exists, t.lookedAt = table != nil, exists, time.Now()
	if table != nil {
		rows := o.rowsOf(*table)
		t.rows = &rows
	}
	return *t, nil
}

// known returns the tables that were found.
func (o *outside) known() (found []*tableRows) {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.tables {
		if t.rows != nil {
			found = append(found, t.rows)
		}
	}
	return found
}

// Outside has r find the rows of tables that are not streamed too.
func (r *Rows) Outside(find Finder) *Rows {
	r.outside = &outside{find: find, rowsOf: r.rowsOf}
	return r
}

// outsideOf returns the table of a deferral, and whether it is one that is not streamed.
func (r *Rows) outsideOf(h *held) (name string, isOutside bool) {
	p := h.stored.place()
	if r.outside == nil || !p.IsGroup() {
		return "", false
	}
	name = p.Table
	for _, t := range r.tables {
		if t.table.Source == nil || t.table.Source.Table == name {
			return "", false
		}
	}
	return name, true
}

// missingError means that no table has the name of the one in which events wait.
type missingError struct{ table string }

func (e *missingError) Error() string {
	return fmt.Sprintf("events wait in table %s, and no table has that name: rename it back", e.table)
}

// tablesOf returns the tables that may have rows of a deferral; none if its table was dropped. It
// returns a [*missingError] if the table may exist under another name.
func (r *Rows) tablesOf(ctx context.Context, h *held) ([]tableRows, error) {
	name, isOutside := r.outsideOf(h)
	if !isOutside {
		return r.tables, nil
	}
	t, err := r.outside.look(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case t.isPresent:
		return []tableRows{*t.rows}, nil
	case t.exists:
		return nil, &missingError{name}
	}
	return nil, nil
}

// isDropped reports whether the table of a deferral was dropped.
func (r *Rows) isDropped(ctx context.Context, h *held) (bool, error) {
	if _, isOutside := r.outsideOf(h); !isOutside {
		return false, nil
	}
	tables, err := r.tablesOf(ctx, h)
	return len(tables) == 0 && err == nil, err
}

// missing is a table that may have another name.
type missing struct {
	table  string // empty: it has its name
	isNews bool   // the last look found it
}

// missing returns the table of a deferral if its rows cannot be found.
func (r *Rows) missing(ctx context.Context, h *held) (m missing, err error) {
	name, isOutside := r.outsideOf(h)
	if !isOutside {
		return m, nil
	}
	t, err := r.outside.look(ctx, name)
	if err != nil {
		return m, err
	}
	isMissing := !t.isPresent && t.exists
	if m.isNews = r.outside.becameMissing(name, isMissing); isMissing {
		m.table = name
	}
	return m, nil
}

// isMissing reports whether the rows of a deferral cannot be found, because its table may have
// another name. It logs that once for each table.
func (w *Worker) isMissing(ctx context.Context, h *held) bool {
	m, err := w.Rows.missing(ctx, h)
	if err != nil {
		w.logRetry(ctx, err)
		return true
	}
	if m.isNews {
		w.Log.Warn("events wait in a table, and no table has its name now: rename it back, and the relay delivers "+
			"them", "event", "deferral_table_missing", "table", m.table)
	}
	return m.table != ""
}

// becameMissing reports whether a table is missing and was not at the last call.
func (o *outside) becameMissing(name string, isMissing bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	wasMissing := o.missing[name]
	if o.missing == nil {
		o.missing = map[string]bool{}
	}
	o.missing[name] = isMissing
	return isMissing && !wasMissing
}

// logDropped logs that the table of a deferral was dropped while its events waited there.
func (w *Worker) logDropped(h *held) {
	events := max(w.Gate.unseen(h), h.stored.Events)
	w.Observer.Removed(h.stored.Destination, events)
	w.Log.With(h.stored.place().attrs()...).Error("the outbox table was dropped before its events were delivered",
		"event", "rows_removed", "events", events)
}
