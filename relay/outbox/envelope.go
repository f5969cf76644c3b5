package outbox

// Envelope is one row of the outbox table as the relay reads it back, from the log or from the table. Every column is
// the text that Postgres prints for it with TimeZone UTC and DateStyle ISO; a column that is NULL or that the table
// does not have is empty.
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
}
