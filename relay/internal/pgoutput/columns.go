package pgoutput

import (
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// mapColumns reads which columns the rows that follow have. before are those of the rows before
// them.
func (d *Decoder) mapColumns(r *reader, table *outboxtable.Table, before []string) (relation, error) {
	r.uint8() // replica identity
	rel := relation{outbox: true, columns: int(r.uint16()), table: table}
	types := make([]uint32, 0, rel.columns)
	for range rel.columns {
		r.uint8() // flags
		rel.names = append(rel.names, string(r.cString()))
		types = append(types, r.uint32())
		r.uint32() // type modifier
		if r.err != nil {
			return relation{}, r.err
		}
	}
	if err := r.end(); err != nil {
		return relation{}, err
	}
	missing, err := d.mapFields(&rel, types, before)
	if err != nil {
		return relation{}, err
	}
	if missing == nil {
		return rel, nil
	}
	rel.lack = missingColumns(&rel, missing, before)
	if d.Incomplete == nil {
		return relation{}, rel.lack
	}
	d.Incomplete(rel.lack)
	return rel, nil
}

// wanted is a column to read, under one of several names.
type wanted struct {
	setting  string
	names    []string
	isListed bool // the setting lists further columns
}

// mapFields finds the column of each field, and the further columns. It returns those that the rows
// lack.
func (d *Decoder) mapFields(rel *relation, types []uint32, before []string) (missing []wanted, err error) {
	find := func(field int, w wanted) (column int, err error) {
		if column = outboxtable.FirstOf(w.names, rel.names); column >= 0 {
			return column, d.noteBinary(rel, field, column, types[column])
		}
		mayBeMissing := field >= fieldTenant && isOfBefore(rel, w.names, before)
		if len(w.names) > 0 && !mayBeMissing {
			missing = append(missing, w)
		}
		return column, nil
	}
	for field := range fields {
		rel.columnOf[field], err = find(field, wanted{outboxtable.SettingOf(field), rel.table.NamesOf(field), false})
		if err != nil {
			return nil, err
		}
	}
	for i, extra := range rel.table.Extra {
		column, err := find(fields+i, wanted{extra.Setting, extra.Names(), true})
		if err != nil {
			return nil, err
		}
		rel.extra = append(rel.extra, column)
	}
	return missing, nil
}

// isOfBefore reports whether rows with these columns lack a column because they were written before
// it was added. A tenant, the column of a pattern or a further column may be missing, and is then
// empty. The table had the column when the session began, and the rows before did not have it.
// Where it was renamed since, the rows have a column that the table did not have.
func isOfBefore(rel *relation, names, before []string) bool {
	existing := rel.table.Existing
	isNew := func(column string) bool { return !slices.Contains(existing, column) }
	return outboxtable.FirstOf(names, existing) >= 0 && outboxtable.FirstOf(names, before) < 0 &&
		!slices.ContainsFunc(rel.names, isNew)
}
