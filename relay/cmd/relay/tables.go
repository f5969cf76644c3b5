package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// maxTables bounds RELAY_TABLE in bytes. It is part of keys in the relay's own tables, where an
// index entry holds 2,704 in all.
const maxTables = 1000

// tables reads RELAY_TABLE: one table, or several that share the description.
func (r *tableReader) tables(text, publication string) {
	names := split(text, ',')
	if len(names) == 1 && !hasWildcard(text) {
		schema, name, err := parseTableName("RELAY_TABLE", text)
		r.report(err)
		r.table.Schema, r.table.Name = schema, name
		return
	}
	several := &outboxtable.Several{Publication: publication}
	for _, name := range names {
		p, err := parsePattern(name)
		if err != nil {
			r.report(fmt.Errorf("RELAY_TABLE %q: %w", name, err))
			continue
		}
		several.Patterns = append(several.Patterns, p)
	}
	r.table.Several = several
	written := r.table.String()
	if len(written) > maxTables {
		r.report(fmt.Errorf("RELAY_TABLE has %d bytes, and may have %d: name the schemas by a pattern, as in "+
			"tenant_*.outbox", len(written), maxTables))
	}
	for i, p := range several.Patterns {
		isSame := func(q outboxtable.Pattern) bool { return q.String() == p.String() }
		if slices.ContainsFunc(several.Patterns[:i], isSame) {
			r.report(fmt.Errorf("RELAY_TABLE names %s twice", p))
		}
	}
}

// hasWildcard reports whether a name has a * that is not in double quotes.
func hasWildcard(name string) bool { return len(split(name, '*')) > 1 }

// ofPattern matches a part of a schema's name beside a *.
var ofPattern = regexp.MustCompile(`^[a-z0-9_]*$`)

// parsePattern reads one table of several: its name, or a pattern for the schema and the name.
func parsePattern(text string) (p outboxtable.Pattern, err error) {
	if !hasWildcard(text) {
		schema, name, err := parseTableName("RELAY_TABLE", text)
		return outboxtable.Pattern{Schema: []string{schema}, Name: name}, err
	}
	parts := split(text, '.')
	if len(parts) != 2 || hasWildcard(parts[1]) {
		return p, errors.New("a * may stand in the name of the schema alone, as in tenant_*.outbox")
	}
	for _, piece := range split(parts[0], '*') {
		if !ofPattern.MatchString(piece) {
			if piece, err = parseName("RELAY_TABLE", piece); err != nil {
				return p, err
			}
		}
		p.Schema = append(p.Schema, piece)
	}
	p.Name, err = parseName("RELAY_TABLE", parts[1])
	return p, err
}

// requireOne returns an error if the settings describe several tables, for a command that needs
// one.
func requireOne(table outboxtable.Table, setting string) error {
	if !table.IsSeveral() {
		return nil
	}
	return fmt.Errorf("%s works with one table, and RELAY_TABLE names several (%s)", setting, table)
}

// chooseOne returns an error that names some of the tables, for a command that needs one.
func chooseOne(table outboxtable.Table) error {
	const shown = 5
	var names []string
	for _, one := range table.Each() {
		if names = append(names, "--table="+one.String()); len(names) == shown {
			break
		}
	}
	return fmt.Errorf("RELAY_TABLE names several tables (%s): choose one, as in %s", table, strings.Join(names, " or "))
}
