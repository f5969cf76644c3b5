package ingest

import (
	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Deps are the dependencies of a [Handler].
type Deps struct {
	Table        outboxtable.Table
	Destinations int                 // their number
	Resumed      checkpoint.Position // delivered before this session
	// InPlace means that an in-place recovery comes first. The stream may be read only after
	// its restart.
	InPlace bool
	// ParkBytes parks rows with bytes. It is set when the log has such rows and the table no longer
	// has such a column. Otherwise the stream ends with [ErrBytes].
	ParkBytes bool
	// ContainsBytes reports whether a type in the log contains bytea. The stream waits for the
	// answer.
	ContainsBytes func(oid uint32) (bool, error)
	// Unknown is [pgoutput.Decoder.Unknown].
	Unknown func(oid uint32, schema, name string) (number int64, err error)
	// Incomplete is called during an in-place recovery before rows of the log that lack columns.
	// Without a recovery such rows end the stream.
	Incomplete func(*pgoutput.MissingColumnError)
	// InTable reports whether a recovery finds such a row in the table. It has then published it.
	InTable func(e *outbox.Envelope) (bool, error)
	// Emitted is the prefix of emitted messages that are events. Empty: none are.
	Emitted string
	// NonTransactional is called for a message with that prefix that belongs to no transaction.
	// That is no event.
	NonTransactional func()

	Router   *route.Router
	Tracker  *checkpoint.Tracker
	Delivery *delivery.Delivery
	Gate     Gate
	Auditor  Auditor
	Metrics  *metrics.Metrics
}

// Auditor counts each row that was read.
type Auditor interface {
	// Streamed counts a row of the stream.
	Streamed(*outbox.Envelope)
	// Read remembers a row of the table.
	Read(*outbox.Envelope)
}

// Gate is between the Handler and delivery.
type Gate interface {
	// Send hands events to delivery, unless they wait in the outbox table.
	Send(destination int, events ...*delivery.Event)
	// Reached says that everything that commits before lsn was sent.
	Reached(lsn pglogrepl.LSN)
	// Claimed returns [delivery.Event.Deferral] of a row.
	Claimed(*outbox.Envelope) string
	// Writer returns [delivery.Row.Writer] of a row that a recovery read.
	Writer(xid string) uint32
}

// Published knows the rows that a recovery has published from the table.
type Published interface{ Has(*outbox.Envelope) bool }
