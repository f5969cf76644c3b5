package audit

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// CountSQL returns the statement of [Table.Count].
func CountSQL(table outboxtable.Table) string { return NewTable(nil, table).sql(count) }
