package main

import (
	"maps"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// readTenant adds the column with the tenant to those that the relay reads, if RELAY_TENANT names
// one.
func readTenant(table *outboxtable.Table, router *route.Router) error {
	return readColumn(table, outboxtable.SettingTenant, router.Tenant().Column(), &table.Columns.Tenant)
}

// readRoute adds the column that a pattern of RELAY_ROUTES names, if one does.
func readRoute(table *outboxtable.Table, router *route.Router) error {
	return readColumn(table, outboxtable.SettingRoutes, router.Column(), &table.Columns.Route)
}

// readColumn adds a column, or a list of its alternative names, to those that the relay reads.
func readColumn(table *outboxtable.Table, setting, column string, target *string) error {
	if column == "" {
		return nil
	}
	names, err := parseNames(setting, column)
	if err != nil {
		return err
	}
	*target = names[0]
	if len(names) > 1 {
		table.Alternatives = maps.Clone(table.Alternatives)
		if table.Alternatives == nil {
			table.Alternatives = outboxtable.Alternatives{}
		}
		table.Alternatives[setting] = names
	}
	return nil
}
