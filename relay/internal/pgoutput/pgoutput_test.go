package pgoutput_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// decodeAll decodes messages in order and overwrites each one afterwards, as the connection does
// with its buffer.
func decodeAll(t *testing.T, d *pgoutput.Decoder, messages ...[]byte) []pgoutput.Message {
	t.Helper()
	var decoded []pgoutput.Message
	for i, message := range messages {
		buffer := bytes.Clone(message)
		m, err := d.Decode(buffer)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		clear(buffer)
		decoded = append(decoded, *m)
	}
	return decoded
}

func TestTransactionIsDecodedWhole(t *testing.T) {
	t.Parallel()
	got := decodeAll(t, pgoutput.NewDecoder(table),
		begin(0x16B3748, 753), outboxRelation(), outboxRow(), commit(0x16B3748, 0x16B3778))
	want := []pgoutput.Message{
		{Kind: pgoutput.KindBegin, Begin: pgoutput.Begin{FinalLSN: 0x16B3748, CommitTime: commitTime, XID: 753}},
		{Kind: pgoutput.KindIgnored},
		{Kind: pgoutput.KindRow, Row: outbox.Envelope{
			ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Sequence: "4711", XID: "753",
			AggregateType: "order", AggregateID: "o-1", EventType: "order.created",
			Payload: `{"total": 12.50}`, Headers: `{"tenant": "acme"}`, CreatedAt: "2026-11-23 20:38:55.123456+00",
		}},
		{Kind: pgoutput.KindCommit, Commit: pgoutput.Commit{
			CommitLSN: 0x16B3748, TransactionEndLSN: 0x16B3778, CommitTime: commitTime,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded messages (-want +got):\n%s", diff)
	}
}

func TestNullIsEmpty(t *testing.T) {
	t.Parallel()
	row := insertMessage(outboxOID, nil, text("1"), nil, nil, nil, nil, nil, text("753"), nil)
	got := decodeAll(t, pgoutput.NewDecoder(table), begin(10, 1), outboxRelation(), row)
	if diff := cmp.Diff(outbox.Envelope{Sequence: "1", XID: "753"}, got[2].Row); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestColumnsAreFoundByNameInTheLastDescription(t *testing.T) {
	t.Parallel()
	d := pgoutput.NewDecoder(outboxtable.Table{
		Schema: "public", Name: "outbox_events",
		Columns: outboxtable.Columns{ID: "id", EventType: "event_type", Payload: "payload"},
	})
	got := decodeAll(t, d, begin(10, 1),
		relationMessage(1, "public", "outbox_events", "id", "event_type", "payload"),
		insertMessage(1, text("a"), text("one"), text("{}")),
		relationMessage(1, "public", "outbox_events", "payload", "note", "event_type", "id"),
		insertMessage(1, text("[]"), text("unread"), text("two"), text("b")))
	want := []outbox.Envelope{{ID: "a", EventType: "one", Payload: "{}"}, {ID: "b", EventType: "two", Payload: "[]"}}
	if diff := cmp.Diff(want, []outbox.Envelope{got[2].Row, got[4].Row}); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestOneColumnMayFillSeveralFields(t *testing.T) {
	t.Parallel()
	d := pgoutput.NewDecoder(outboxtable.Table{
		Schema: "public", Name: "events",
		Columns: outboxtable.Columns{ID: "number", Sequence: "number", Payload: "body"},
	})
	got := decodeAll(t, d, begin(10, 1), relationMessage(1, "public", "events", "body", "number"),
		insertMessage(1, text("{}"), text("17")))
	if diff := cmp.Diff(outbox.Envelope{ID: "17", Sequence: "17", Payload: "{}"}, got[2].Row); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestWhatIsNotARowOfTheOutboxTableIsIgnored(t *testing.T) {
	t.Parallel()
	got := decodeAll(t, pgoutput.NewDecoder(table),
		[]byte("M\x00\x00\x00\x00\x00\x00\x00\x00\x01heartbeat\x00\x00\x00\x00\x00"), // not transactional
		begin(10, 1),
		[]byte("O\x00\x00\x00\x00\x00\x00\x00\x01elsewhere\x00"),
		[]byte("Y\x00\x00\x40\x01public\x00mood\x00"),
		relationMessage(7, "audit", "outbox_events", columns...),
		insertMessage(7, text("another schema")),
		relationMessage(8, "public", "orders", "id"),
		insertMessage(8, text("another table")),
		outboxRelation(),
		[]byte("U\x00\x00\x40\x01N\x00\x00"),
		[]byte("D\x00\x00\x40\x01K\x00\x00"),
		[]byte("T\x00\x00\x00\x01\x00\x00\x00\x40\x01"),
	)
	for i, m := range got {
		if i != 1 && m.Kind != pgoutput.KindIgnored {
			t.Errorf("message %d is of kind %d", i, m.Kind)
		}
	}
}

func TestMissingColumnsAreAllNamed(t *testing.T) {
	t.Parallel()
	d := pgoutput.NewDecoder(table)
	decodeAll(t, d, begin(0x16B3748, 1))
	present := slices.DeleteFunc(slices.Clone(columns), func(c string) bool {
		return c == "event_type" ||
			c == "headers"
	})
	_, err := d.Decode(relationMessage(outboxOID, table.Schema, table.Name, present...))
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{
		"Relation message", "0/16B3748", "public.outbox_events", `"event_type"`, "RELAY_COLUMN_EVENT_TYPE", `"headers"`,
		"RELAY_COLUMN_HEADERS",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not name %s: %v", part, err)
		}
	}
}

func TestMalformedMessageEndsTheStream(t *testing.T) {
	t.Parallel()
	open := [][]byte{begin(0x16B3748, 1), outboxRelation()}
	tests := map[string]struct {
		before  [][]byte
		message []byte
		want    []string
	}{
		"empty":        {nil, nil, []string{"outside a transaction", "empty"}},
		"unknown type": {open, []byte{'?'}, []string{"'?'", "0/16B3748"}},
		"streamed transaction": {
			nil, []byte("S\x00\x00\x00\x01\x01"),
			[]string{"Stream Start", "proto_version 1"},
		},
		"two-phase transaction":        {nil, []byte("b"), []string{"Begin Prepare", "proto_version 1"}},
		"begin inside a transaction":   {open, begin(20, 2), []string{"Begin", "has not ended"}},
		"commit outside a transaction": {nil, commit(10, 20), []string{"Commit", "no transaction has begun"}},
		"commit of another one": {
			open, commit(0x16B3750, 0x16B3778),
			[]string{"Commit", "0/16B3748", "0/16B3750"},
		},
		"row outside a transaction":    {nil, outboxRow(), []string{"Insert", "outside a transaction"}},
		"update outside a transaction": {nil, []byte("U"), []string{"Update", "outside a transaction"}},
		"row of an undescribed table":  {open, insertMessage(99, text("x")), []string{"Insert", "OID 99"}},
		"row with a column too few":    {open, insertMessage(outboxOID, text("x")), []string{"row of 1 columns", "9"}},
		"old row in an insert": {
			open, bytes.Replace(outboxRow(), []byte{'N'}, []byte{'O'}, 1),
			[]string{"Insert", "'O'"},
		},
		"binary value": {
			open, bytes.Replace(outboxRow(), []byte{'t'}, []byte{'b'}, 1),
			[]string{"column 1", "'b'"},
		},
		"unchanged TOASTed value": {
			open, bytes.Replace(outboxRow(), []byte{'t'}, []byte{'u'}, 1),
			[]string{"column 1", "'u'"},
		},
		"bytes after a row": {open, append(outboxRow(), 0), []string{"Insert", "1 bytes follow"}},
		"bytes after a commit": {
			open, append(commit(0x16B3748, 0x16B3778), 0),
			[]string{"Commit", "1 bytes follow"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgoutput.NewDecoder(table)
			decodeAll(t, d, test.before...)
			m, err := d.Decode(test.message)
			if err == nil {
				t.Fatalf("no error but %+v", m)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error does not name %q: %v", part, err)
				}
			}
		})
	}
}

func TestErrorsCarryNoPartOfARow(t *testing.T) {
	t.Parallel()
	d := pgoutput.NewDecoder(table)
	decodeAll(t, d, begin(10, 1), outboxRelation())
	_, err := d.Decode(append(outboxRow(), "more"...))
	if err == nil || strings.Contains(err.Error(), "total") || strings.Contains(err.Error(), "more") {
		t.Errorf("error: %v", err)
	}
}

func TestTruncatedMessageIsAnErrorAtEveryByte(t *testing.T) {
	t.Parallel()
	transaction := [][]byte{begin(10, 1), outboxRelation(), outboxRow(), commit(10, 20)}
	for i, message := range transaction {
		for length := range message {
			d := pgoutput.NewDecoder(table)
			decodeAll(t, d, transaction[:i]...)
			if m, err := d.Decode(slices.Clip(message[:length])); err == nil {
				t.Errorf("%c message cut to %d of %d bytes decodes to %+v", message[0], length, len(message), m)
			}
		}
	}
}

// TestSameBytesMeanTheSameToPglogrepl compares this decoder with an independent one.
func TestSameBytesMeanTheSameToPglogrepl(t *testing.T) {
	t.Parallel()
	d := pgoutput.NewDecoder(table)
	got := decodeAll(t, d, begin(0x16B3748, 753), outboxRelation(), outboxRow(), commit(0x16B3748, 0x16B3778))

	b := parse[*pglogrepl.BeginMessage](t, begin(0x16B3748, 753))
	wantBegin := pgoutput.Begin{FinalLSN: b.FinalLSN, CommitTime: b.CommitTime.UTC(), XID: b.Xid}
	if diff := cmp.Diff(wantBegin, got[0].Begin); diff != "" {
		t.Errorf("begin (-pglogrepl +got):\n%s", diff)
	}
	c := parse[*pglogrepl.CommitMessage](t, commit(0x16B3748, 0x16B3778))
	wantCommit := pgoutput.Commit{
		CommitLSN: c.CommitLSN, TransactionEndLSN: c.TransactionEndLSN,
		CommitTime: c.CommitTime.UTC(),
	}
	if diff := cmp.Diff(wantCommit, got[3].Commit); diff != "" {
		t.Errorf("commit (-pglogrepl +got):\n%s", diff)
	}
	rel := parse[*pglogrepl.RelationMessage](t, outboxRelation())
	row := parse[*pglogrepl.InsertMessage](t, outboxRow())
	if diff := cmp.Diff(envelope(rel, row), got[2].Row); diff != "" {
		t.Errorf("row (-pglogrepl +got):\n%s", diff)
	}
}

func parse[M pglogrepl.Message](t *testing.T, message []byte) M {
	t.Helper()
	m, err := pglogrepl.Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	return m.(M)
}

// envelope converts a row that pglogrepl decoded.
func envelope(rel *pglogrepl.RelationMessage, row *pglogrepl.InsertMessage) outbox.Envelope {
	values := map[string]string{}
	for i, column := range row.Tuple.Columns {
		values[rel.Columns[i].Name] = string(column.Data)
	}
	return outbox.Envelope{
		ID: values["id"], Sequence: values["seq"], XID: values["xid"],
		AggregateType: values["aggregate_type"], AggregateID: values["aggregate_id"], EventType: values["event_type"],
		Payload: values["payload"], Headers: values["headers"], CreatedAt: values["created_at"],
	}
}
