package main

import (
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/format"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// readCloudEvents reads the attributes of CloudEvents that have another value than their default:
// NAME=COLUMN, NAME='TEXT' or NAME=none. It adds the columns to those that the relay reads.
func readCloudEvents(table *outboxtable.Table, text string) ([]format.Attribute, []error) {
	if text == "" {
		return nil, nil
	}
	r := &tableReader{table: *table}
	var attributes []format.Attribute
	for _, entry := range split(text, ',') {
		name, from, ok := strings.Cut(entry, "=")
		name, from = strings.TrimSpace(name), strings.TrimSpace(from)
		attribute := format.Attribute{Name: name, Column: -1}
		switch {
		case !ok || from == "":
			r.report(fmt.Errorf("%s: %q: write NAME=COLUMN, NAME='TEXT' or NAME=none", route.SettingCloudEvents, entry))
			continue
		case from == "none":
		case strings.HasPrefix(from, "'"):
			var err error
			if attribute.Text, err = parseLiteral(from); err != nil {
				r.report(fmt.Errorf("%s: %q: %w", route.SettingCloudEvents, entry, err))
				continue
			}
		default:
			if attribute.Column = r.extra(route.SettingCloudEvents, from); attribute.Column < 0 {
				continue
			}
		}
		attributes = append(attributes, attribute)
	}
	*table = r.table
	return attributes, r.problems
}
