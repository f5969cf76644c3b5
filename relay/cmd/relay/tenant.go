package main

import (
	"maps"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// readTenant adds the column with the tenant to those that the relay reads, if RELAY_TENANT names
// one.
func readTenant(table *pgoutput.Table, router *route.Router) error {
	column := router.Tenant().Column()
	if column == "" {
		return nil
	}
	names, err := parseNames(pgoutput.SettingTenant, column)
	if err != nil {
		return err
	}
	table.Columns.Tenant = names[0]
	if len(names) > 1 {
		table.Alternatives = maps.Clone(table.Alternatives)
		if table.Alternatives == nil {
			table.Alternatives = pgoutput.Alternatives{}
		}
		table.Alternatives[pgoutput.SettingTenant] = names
	}
	return nil
}
