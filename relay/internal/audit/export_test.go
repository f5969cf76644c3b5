package audit

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// CountSQL returns the statement of [Table.Count].
func CountSQL(table pgoutput.Table) string { return NewTable(nil, table).sql(count) }
