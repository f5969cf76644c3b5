package outbox

// Envelope is one row of the outbox table, as the relay reads it from the log or from the table, or
// one emitted message.
// Every field holds the text that Postgres prints for its column with TimeZone UTC and DateStyle
// ISO. A field is empty if its column is NULL or missing.
type Envelope struct {
	ID            string
	Sequence      string // column seq
	XID           string // column xid: the writing transaction
	AggregateType string
	AggregateID   string
	EventType     string
	Payload       string
	Headers       string // a JSON object of strings, or empty
	CreatedAt     string // as Postgres prints a timestamptz: 2026-11-23 20:38:55.123456+00
	Tenant        string // the column that RELAY_TENANT names, if it names one
	Route         string // the column that a pattern of RELAY_ROUTES names, if one does
	// Base64 says that Payload is bytes, in base64.
	Base64 bool
	// Emitted says that pg_logical_emit_message wrote the event: no table has a row of it.
	Emitted bool
	// Malformed says that the message is no event. Payload then has all of it.
	Malformed bool
	// Extra are the texts of further columns, in the order in which the relay's settings name them.
	Extra []string
	// Source is the table of the row if the relay reads several tables; nil for a single one.
	Source *Source
}
