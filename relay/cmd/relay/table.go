package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const settingOrderKey = "RELAY_ORDER_KEY"

// table reads the description of the table.
func (s *source) table() (outboxtable.Table, []error) {
	r := &tableReader{}
	publication, _ := parseName("RELAY_PUBLICATION", s.Publication) // an invalid name is reported with it
	if err := s.requirePresetTable(); err != nil {
		r.report(err)
	} else {
		r.tables(s.Table, publication)
	}
	columns, constants := &r.table.Columns, &r.table.Constants
	r.column("RELAY_COLUMN_ID", s.ColumnID, &columns.ID, nil)
	r.column("RELAY_COLUMN_SEQUENCE", s.ColumnSequence, &columns.Sequence, nil)
	r.column("RELAY_COLUMN_XID", s.ColumnXID, &columns.XID, nil)
	r.column("RELAY_COLUMN_AGGREGATE_TYPE", s.ColumnAggregateType, &columns.AggregateType, &constants.AggregateType)
	r.column("RELAY_COLUMN_AGGREGATE_ID", s.ColumnAggregateID, &columns.AggregateID, &constants.AggregateID)
	r.column("RELAY_COLUMN_EVENT_TYPE", s.ColumnEventType, &columns.EventType, &constants.EventType)
	r.column("RELAY_COLUMN_PAYLOAD", s.ColumnPayload, &columns.Payload, nil)
	r.column("RELAY_COLUMN_HEADERS", s.ColumnHeaders, &columns.Headers, nil)
	r.column("RELAY_COLUMN_CREATED_AT", s.ColumnCreatedAt, &columns.CreatedAt, nil)
	r.table.PayloadBytes = s.PayloadBytes == "base64"
	if s.RowFilter == "assert" {
		r.table.FilteredBy = publication
		r.report(requireOne(r.table, "RELAY_ROW_FILTER=assert"))
	}
	r.orderKey(s.OrderKey)
	r.attributes(s.AttributeColumns)
	return r.table, r.problems
}

// tableReader reads the settings of a table, and collects their problems.
type tableReader struct {
	table    outboxtable.Table
	problems []error
}

func (r *tableReader) report(err error) {
	if err != nil {
		r.problems = append(r.problems, err)
	}
}

// column reads the names of a column into name, or the text that stands for it in every row into
// constant. constant is nil where no such text is possible.
func (r *tableReader) column(setting, text string, name, constant *string) {
	switch {
	case text == "" && preflight.IsOptional(setting):
		return
	case text == "":
		r.report(fmt.Errorf("%s is empty, and the relay needs this column: name it, or add one to the table "+
			"(see relay/docs/table.md)", setting))
		return
	case strings.HasPrefix(text, "'") && constant != nil:
		literal, err := parseLiteral(text)
		if err != nil {
			r.report(fmt.Errorf("%s %s: %w", setting, text, err))
		}
		*constant = literal
		return
	}
	names, err := parseNames(setting, text)
	if err != nil {
		r.report(err)
		return
	}
	if *name = names[0]; len(names) > 1 {
		if r.table.Alternatives == nil {
			r.table.Alternatives = outboxtable.Alternatives{}
		}
		r.table.Alternatives[setting] = names
	}
}

// orderKey reads the columns that are the unit of order.
func (r *tableReader) orderKey(text string) {
	if text == "" {
		return
	}
	for _, column := range split(text, ',') {
		if index := r.extra(settingOrderKey, column); index >= 0 {
			r.table.OrderKey = append(r.table.OrderKey, index)
		}
	}
}

// attributes reads the columns that become attributes: COLUMN, or NAME=COLUMN.
func (r *tableReader) attributes(text string) {
	if text == "" {
		return
	}
	for _, entry := range split(text, ',') {
		name, column, named := strings.Cut(entry, "=")
		if !named || strings.HasPrefix(name, `"`) { // a quoted column may have the character in its name
			name, column = "", entry
		}
		column = strings.TrimSpace(column)
		index := r.extra(route.SettingAttributeColumns, column)
		if index < 0 {
			continue
		}
		if name = strings.TrimSpace(name); name == "" {
			name = r.table.Extra[index].Column
		}
		if !outbox.ValidAttributeName(name) {
			r.report(fmt.Errorf("%s: %q cannot be the name of an attribute: write NAME=COLUMN",
				route.SettingAttributeColumns, name))
		}
		r.table.Attributes = append(r.table.Attributes, outboxtable.Attribute{Name: name, Index: index})
	}
}

// extra adds a further column, unless it is there already, and returns its index, or -1. text is
// the column's name, or the names of a renamed column, separated by |.
func (r *tableReader) extra(setting, text string) int {
	names, err := parseList(setting, text, '|')
	if err != nil {
		r.report(err)
		return -1
	}
	for i, extra := range r.table.Extra {
		if extra.Column == names[0] {
			return i
		}
	}
	extra := outboxtable.Extra{Setting: setting, Column: names[0]}
	if len(names) > 1 {
		extra.Alternatives = names
	}
	r.table.Extra = append(r.table.Extra, extra)
	return len(r.table.Extra) - 1
}

// parseLiteral reads a text in single quotes, as SQL does: an inner quote is doubled.
func parseLiteral(text string) (string, error) {
	inner, opened := strings.CutPrefix(text, "'")
	inner, closed := strings.CutSuffix(inner, "'")
	unquoted := strings.ReplaceAll(inner, "''", "")
	if !opened || !closed || inner == "" || strings.ContainsAny(unquoted, "'\x00") {
		return "", errors.New("write a text in single quotes, with each inner quote doubled, as in 'order.created'")
	}
	return strings.ReplaceAll(inner, "''", "'"), nil
}
