package chaos

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// shape is an outbox table as a project or a team has it, with what the relay promises for it.
type shape struct {
	name  string
	table string // as in SQL, like all names below
	// tables are those of a relay with several, all with the same columns. The first is table. The
	// publication has all but the last one at the start. They are empty for a relay with one.
	tables   []string
	create   string // in addition to the table that relay migrate creates; empty for that table
	settings []string
	insert   string // with the arguments of [arguments]
	columns  columns
	// deletes says that the writer deletes each row in the transaction that inserted it.
	deletes bool
	// repairs says that the relay finds rows in the table that the log does not bring. Otherwise no
	// fault may lose the log, and no event can wait in the table.
	repairs bool
	// keepsNone says that the events of an unavailable or paused destination cannot wait in the
	// table.
	keepsNone bool
	// unordered says that no column has a key, so every event is its own message group.
	unordered bool
	// routes says how the relay chooses the destination. The zero value has one destination.
	routes routing
	// jsonb says that the column of payloads does not keep the text that was inserted.
	jsonb bool
	// attributes are other names of attributes. An attribute with the name "" is absent.
	attributes map[string]string
}

// columns are the columns that statements of the machine name. Empty ones do not exist.
// common is that of the seq of a row among those of several tables, and is seq for a single one.
type columns struct{ id, seq, xid, payload, created, kind, aggregate, common string }

// routing is the way by which the relay chooses the destination of an event.
type routing int

// The ways.
const (
	byDefault routing = iota
	byAggregateType
	byColumn
)

// shapeOf returns the shape with a name.
func shapeOf(name string) *shape {
	i := slices.IndexFunc(shapes, func(s shape) bool { return s.name == name })
	return &shapes[max(i, 0)]
}

// sql replaces the names of the table and its columns in a statement.
func (s *shape) sql(statement string) string {
	c := s.columns
	return strings.NewReplacer("{table}", s.table, "{rows}", s.rows(), "{tables}", strings.Join(s.each(), ", "),
		"{new_id}", s.newID(), "{common_seq}", cmp.Or(c.common, c.seq), "{id}", c.id, "{seq}", c.seq,
		"{xid}", c.xid, "{payload}", c.payload, "{created}", c.created, "{kind}", c.kind,
		"{aggregate}", c.aggregate).Replace(statement)
}

// attribute returns the name of one of the relay's attributes, or "" if messages do not have it.
func (s *shape) attribute(name string) string {
	if other, has := s.attributes[name]; has {
		return other
	}
	return name
}

// absent returns the fields that no message has.
func (s *shape) absent() []string {
	var fields []string
	for _, field := range []string{checker.EventType, checker.AggregateType, checker.AggregateID, checker.Sequence} {
		if s.attribute(field) == "" { // attributes have the same names
			fields = append(fields, field)
		}
	}
	return fields
}

// isTyped reports whether a message shows the type of its event.
func (s *shape) isTyped() bool { return s.attribute("event_type") != "" }

// replays reports whether delivered events can be selected and sent again.
func (s *shape) replays() bool {
	return s.repairs && s.columns.aggregate != "" && s.columns.created != "" && s.tables == nil
}

// start returns RELAY_START.
func (s *shape) start() string {
	if s.repairs {
		return "table"
	}
	return "now"
}

// ofOperator returns the settings with which an operator runs a command.
func (s *shape) ofOperator() []string {
	if s.name == own || !s.repairs {
		return s.settings
	}
	return append(slices.Clone(s.settings), rowsStay)
}

// rowsStay says that events can wait in the table, which the relay assumes of its own table alone.
const rowsStay = "RELAY_ROWS_STAY=assert"

// order is the SQL expression by which committed events of an aggregate are ordered. Writers of an
// aggregate are serialised.
func (s *shape) order() string {
	if s.columns.seq == "" {
		return "nextval('commit_order')"
	}
	return s.sql("new.{seq}")
}

// write writes one row as a producer in any language would, without the Go package.
func (s *shape) write(ctx context.Context, tx pgx.Tx, e checker.Event) error {
	if e.Emitted {
		_, err := tx.Exec(ctx, emitEvent, arguments(e))
		return err
	}
	if _, err := tx.Exec(ctx, strings.ReplaceAll(s.insert, "{into}", e.Table), arguments(e)); err != nil {
		return err
	}
	if !s.deletes {
		return nil
	}
	_, err := tx.Exec(ctx, s.sql(`DELETE FROM {table} WHERE {id} = $1`), e.ID)
	return err
}

// emittedPrefix is the prefix of emitted events.
const emittedPrefix = "outbox"

// emitEvent emits an event, and records it in the same transaction.
const emitEvent = `
	WITH recorded AS (INSERT INTO committed VALUES (@id::uuid, nextval('emitted_order'), @payload, true))
	SELECT pg_logical_emit_message(true, '` + emittedPrefix + `', json_build_object('id', @id::uuid,
		'aggregate_type', @kind::text, 'aggregate_id', @aggregate::text, 'event_type', @type::text,
		'payload', @payload::text::json, 'headers', '{"tenant": "acme", "empty": ""}'::json)::text)`

// arguments are the values of an event in the statement that inserts it.
func arguments(e checker.Event) pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": strings.TrimPrefix(e.ID, e.Table+"/"), "kind": e.AggregateType, "aggregate": e.AggregateID,
		"type": e.Type, "payload": e.Payload,
		"topic": strings.TrimSuffix(nameOf(e.Destination), ".fifo"),
	}
}
