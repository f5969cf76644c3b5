package pgoutput

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// MissingColumnError says that the log has rows without columns that the relay has to read. No
// retry brings them.
type MissingColumnError struct {
	Table   string
	Missing []MissingColumn
	// Gone are columns of the rows that the table no longer has. One of them may be a missing
	// column under its former name. There are none if the columns of the table are not known.
	Gone []string
	// Remedy describes the effect of relay recover on these rows.
	Remedy string
}

// MissingColumn is a column that rows in the log do not have.
type MissingColumn struct {
	Setting string
	Names   []string // names in the setting
	Renamed []string // columns of the rows that may be the missing one under another name
	// IsListed says that the setting lists further columns.
	IsListed bool
}

func (e *MissingColumnError) Error() string {
	var texts []string
	for _, m := range e.Missing {
		texts = append(texts, m.String())
	}
	text := fmt.Sprintf("the log has rows of table %s without a column that the relay reads: %s", e.Table,
		strings.Join(texts, "; "))
	isRenamed := func(m MissingColumn) bool { return len(m.Renamed) > 0 }
	switch {
	case !slices.ContainsFunc(e.Missing, isRenamed):
		text += ". If these rows were written before the column was added, "
	case len(e.Gone) > 0:
		text += fmt.Sprintf(". If no column was renamed, and %q were dropped, ", e.Gone)
	default:
		text += ". If no column was renamed, "
	}
	return text + e.Remedy
}

// Reason says why such a row is no event. isIdentified: the row has an id or a seq.
func (e *MissingColumnError) Reason(isIdentified bool) string {
	text := fmt.Sprintf("the row has no column %s in the log, and ", strings.Join(e.Columns(), ", "))
	if !isIdentified {
		return text + "without an id and a seq the relay cannot find it in table " + e.Table
	}
	return text + "the recovery published no such row of table " + e.Table
}

// OfRow is the error of a row that a recovery did not find in the table, and that a setting may
// read.
func (e *MissingColumnError) OfRow(id string) error {
	return fmt.Errorf("%w. The recovery did not publish event %s from the table, so only the log has it. If no "+
		"column was renamed, add columns %q to the table until the relay streams: the event then becomes a dead letter",
		e, id, e.Gone)
}

// Columns returns the first name of each column that the rows lack.
func (e *MissingColumnError) Columns() (names []string) {
	for _, m := range e.Missing {
		names = append(names, m.Names[0])
	}
	return names
}

// String names the missing column and the setting that reads these rows.
func (m MissingColumn) String() string {
	names := outboxtable.Names(m.Names)
	missing := fmt.Sprintf("they have no column %q (%s)", names, m.Setting)
	switch len(m.Renamed) {
	case 0:
		return missing + ", and no other that could be it. If the publication leaves it out, as it does with " +
			"generated columns, have it published. If the relay needs none, set " + m.Setting +
			" to nothing"
	case 1:
		if m.IsListed {
			return fmt.Sprintf("%s, and they have %q. If the column was renamed, write %s for it in %s, which reads "+
				"rows of either name",
				missing, m.Renamed[0], outboxtable.Either(append(m.Names, m.Renamed[0])...), m.Setting)
		}
		return fmt.Sprintf("%s, and they have %q. If the column was renamed, set %s, which reads rows of "+
			"either name",
			missing, m.Renamed[0], outboxtable.Assignment(m.Setting, names, outboxtable.Names(m.Renamed)))
	}
	if m.IsListed {
		return fmt.Sprintf("%s, and they have %q. If the column was renamed, write %s|NAME for it in %s, with its "+
			"name in these rows", missing, m.Renamed, outboxtable.Either(m.Names...), m.Setting)
	}
	return fmt.Sprintf("%s, and they have %q. If the column was renamed, set %s with its name in these rows, which "+
		"reads rows of either name", missing, m.Renamed, outboxtable.Assignment(m.Setting, names, "NAME"))
}

func missingColumns(rel *relation, missing []wanted, before []string) *MissingColumnError {
	e := &MissingColumnError{Table: rel.table.String(), Gone: gone(rel), Remedy: remedy(rel.table)}
	for _, w := range missing {
		e.Missing = append(e.Missing, MissingColumn{
			Setting: w.setting, Names: w.names, IsListed: w.isListed,
			Renamed: renamed(rel, w.names, before),
		})
	}
	return e
}

// remedy describes the effect of relay recover on rows that no setting reads.
func remedy(t *outboxtable.Table) string {
	if !t.IsRepairable() {
		return "relay recover cannot publish them, because " + outboxtable.WhyNotRepairable(*t)
	}
	return "run relay recover: with --yes the relay publishes these rows from the table, and makes dead letters of " +
		"those that the table does not have"
}

// gone returns the columns of the rows that the table no longer has, as after a rename.
func gone(rel *relation) []string {
	if rel.table.Existing == nil {
		return nil
	}
	return unread(rel)
}

// unread returns the columns of the rows that fill no field. If the columns of the table are known,
// it returns only those that the table no longer has.
func unread(rel *relation) (names []string) {
	for column, name := range rel.names {
		if !isRead(rel, column) && !slices.Contains(rel.table.Existing, name) {
			names = append(names, name)
		}
	}
	return names
}

func isRead(rel *relation, column int) bool {
	return slices.Contains(rel.columnOf[:], column) || slices.Contains(rel.extra, column)
}

// renamed returns the columns that are probably the missing one under a new name. A renamed column
// keeps its position, so the rows before the change identify it. Otherwise renamed returns the
// columns that fill no field. If the columns of the table are known, it returns only those that the
// table no longer has.
func renamed(rel *relation, names, before []string) []string {
	if place := outboxtable.FirstOf(names, before); place >= 0 && len(before) == len(rel.names) {
		return rel.names[place : place+1]
	}
	return unread(rel)
}
