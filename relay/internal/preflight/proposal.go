package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// proposing is the number of missing columns from which on other settings are proposed. A single
// one was probably renamed.
const proposing = 2

// lacking returns how many columns in the settings are missing.
func (d *database) lacking() (missing int) {
	for _, mapped := range d.Table.Mapped() {
		if _, exists := d.columns[mapped.Column]; !exists {
			missing++
		}
	}
	return missing
}

// proposal proposes the settings for a table whose columns the settings do not name.
func (d *database) proposal(ctx context.Context) Findings {
	if d.columns == nil || d.lacking() < proposing {
		return nil
	}
	unique, err := d.uniqueColumns(ctx)
	if err != nil {
		return Findings{unknown(CodeProposal, d.tableObject(), err)}
	}
	all := guess(d.columns, unique)
	var found Findings
	settings := []string{"RELAY_TABLE=" + shellQuote(d.Table.String())}
	proposed := *d
	proposed.Table.Columns, proposed.Table.Constants = outboxtable.Columns{}, outboxtable.Columns{}
	for _, g := range all {
		f, setting := d.propose(g)
		found, settings = append(found, f), append(settings, setting)
		proposed.Table.Columns.Set(g.setting, g.column)
	}
	found = append(found, d.unread(all)...)
	other, err := d.slotTable(ctx)
	switch {
	case err != nil:
		return append(found, unknown(CodeProposal, d.tableObject(), err))
	case other != "":
		settings = append(settings, "RELAY_SLOT="+d.ownSlot(), "RELAY_PUBLICATION="+d.ownPublication())
	}
	summary := passed(CodeProposal, d.tableObject(), "these settings fit the columns of table %s", d.tableName())
	if needed := needed(all); needed != nil {
		summary.Explanation = fmt.Sprintf("these settings fit the columns of table %s, once you complete %s: name a "+
			"column, or add one to the table", d.tableName(), strings.Join(needed, " and "))
	}
	found = append(found, summary.with("%s relay check", strings.Join(settings, " ")))
	if missing := proposed.missingGuarantees(); missing.Level() != OK {
		found = append(found, missing...)
	}
	return found
}

// needed returns the settings without a column that the relay needs.
func needed(all []guessed) (settings []string) {
	for _, g := range all {
		if g.column == "" && !IsOptional(g.setting) {
			settings = append(settings, g.setting)
		}
	}
	return settings
}

// propose returns the finding of a field, and its setting.
func (d *database) propose(g guessed) (f Finding, setting string) {
	if g.column == "" {
		f = passed(CodeProposal, d.tableObject(), "%s: no column looks like it", g.setting)
		if !IsOptional(g.setting) {
			f.Explanation += ", and the relay needs one"
		}
		return f, g.setting + "="
	}
	value := outboxtable.Names([]string{g.column})
	return passed(CodeProposal, d.columnObject(g.column), "%s=%s: column %s is %s, chosen %s", g.setting, value,
		g.column, d.columns[g.column].dataType, g.why), g.setting + "=" + shellQuote(value)
}

// unread names the columns that no setting reads.
func (d *database) unread(all []guessed) Findings {
	var unread []string
	for _, name := range slices.Sorted(maps.Keys(d.columns)) {
		if !slices.ContainsFunc(all, func(g guessed) bool { return g.column == name }) {
			unread = append(unread, outboxtable.Names([]string{name}))
		}
	}
	if unread == nil {
		return nil
	}
	return Findings{passed(CodeProposal, d.tableObject(), "not read: %s. RELAY_ATTRIBUTE_COLUMNS makes attributes of "+
		"columns, and RELAY_ORDER_KEY orders events by them", strings.Join(unread, ", "))}
}

// uniqueColumns returns the columns with a unique index of their own, the primary key first.
func (d *database) uniqueColumns(ctx context.Context) ([]string, error) {
	rows, err := d.Pool.Query(ctx, `
		SELECT a.attname::text FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL
		  AND i.indexprs IS NULL ORDER BY i.indisprimary DESC, a.attnum`, d.oid)
	if err != nil {
		return nil, fmt.Errorf("look for its unique indexes: %w", err)
	}
	unique, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for its unique indexes: %w", err)
	}
	return unique, nil
}

// shellQuote returns a value for a shell, in single quotes if it needs any.
func shellQuote(value string) string {
	if !strings.ContainsAny(value, ` "'$`+"`"+`\;&|<>()*?[]#~!{}`) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
