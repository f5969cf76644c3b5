package pgoutput_test

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// The encoder below follows the protocol's page in the manual and shares no code with the decoder.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html

const outboxOID = 16385

// commitTime is 2026-11-23 20:38:55.123456 UTC.
var commitTime = time.Date(2026, 11, 23, 20, 38, 55, 123456000, time.UTC)

var table = outboxtable.Table{
	Schema: "public", Name: "outbox_events",
	Columns: outboxtable.Columns{
		ID: "id", Sequence: "seq", XID: "xid", AggregateType: "aggregate_type", AggregateID: "aggregate_id",
		EventType: "event_type", Payload: "payload", Headers: "headers", CreatedAt: "created_at",
	},
}

var columns = []string{
	"id", "seq", "aggregate_type", "aggregate_id", "event_type", "payload", "headers", "xid", "created_at",
}

// value is one column of a row; nil stands for NULL.
type value = *string

func text(s string) value { return &s }

func begin(finalLSN pglogrepl.LSN, xid uint32) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'B'}, uint64(finalLSN))
	b = binary.BigEndian.AppendUint64(b, sinceY2K(commitTime))
	return binary.BigEndian.AppendUint32(b, xid)
}

func commit(commitLSN, endLSN pglogrepl.LSN) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'C', 0}, uint64(commitLSN))
	b = binary.BigEndian.AppendUint64(b, uint64(endLSN))
	return binary.BigEndian.AppendUint64(b, sinceY2K(commitTime))
}

func sinceY2K(t time.Time) uint64 {
	return uint64(t.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds())
}

func relationMessage(oid uint32, schema, name string, columns ...string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'R'}, oid)
	b = append(b, schema+"\x00"+name+"\x00d"...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(columns)))
	for _, column := range columns {
		b = append(b, "\x00"+column+"\x00"...)
		b = binary.BigEndian.AppendUint32(b, 25)         // text
		b = binary.BigEndian.AppendUint32(b, 0xFFFFFFFF) // no modifier
	}
	return b
}

func insertMessage(oid uint32, values ...value) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'I'}, oid)
	b = append(b, 'N')
	b = binary.BigEndian.AppendUint16(b, uint16(len(values)))
	for _, v := range values {
		if v == nil {
			b = append(b, 'n')
			continue
		}
		b = binary.BigEndian.AppendUint32(append(b, 't'), uint32(len(*v)))
		b = append(b, *v...)
	}
	return b
}

// emittedMessage is a message of pg_logical_emit_message.
func emittedMessage(flags byte, prefix, content string) []byte {
	b := append([]byte{'M', flags}, make([]byte, 8)...) // and its LSN
	b = append(append(b, prefix...), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	return append(b, content...)
}

func outboxRelation() []byte {
	return relationMessage(outboxOID, table.Schema, table.Name, columns...)
}

func outboxRow() []byte { return outboxRowWith(`{"total": 12.50}`) }

func outboxRowWith(payload string) []byte {
	return insertMessage(outboxOID,
		text("0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11"), text("4711"), text("order"), text("o-1"), text("order.created"),
		text(payload), text(`{"tenant": "acme"}`), text("753"), text("2026-11-23 20:38:55.123456+00"))
}
