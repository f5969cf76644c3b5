package pgoutput_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// TestRowsReadAsPglogreplReadsThem draws tables with the outbox columns among others, describes
// them again between rows, and compares every row with pglogrepl's result for the same bytes.
func TestRowsReadAsPglogreplReadsThem(t *testing.T) {
	t.Parallel()
	others := rapid.SliceOfN(rapid.StringMatching(`x_[a-z]{1,8}`), 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		d := pgoutput.NewDecoder(table)
		decode(t, d, begin(10, 1))
		for range rapid.IntRange(1, 3).Draw(t, "descriptions") {
			names := rapid.Permutation(append(others.Draw(t, "other columns"), columns...)).Draw(t, "columns")
			description := relationMessage(outboxOID, table.Schema, table.Name, names...)
			decode(t, d, description)
			for range rapid.IntRange(0, 4).Draw(t, "rows") {
				message := insertMessage(outboxOID, drawRow(t, len(names))...)
				got := decode(t, d, message)
				if diff := cmp.Diff(readByPglogrepl(t, description, message), got.Row); diff != "" ||
					got.Kind != pgoutput.KindRow {
					t.Fatalf("row of kind %d (-pglogrepl +got):\n%s", got.Kind, diff)
				}
			}
		}
		decode(t, d, commit(10, 20))
	})
}

func drawRow(t *rapid.T, columns int) []value {
	row := make([]value, columns)
	for i := range row {
		row[i] = rapid.Ptr(rapid.String(), true).Draw(t, "value")
	}
	return row
}

func decode(t *rapid.T, d *pgoutput.Decoder, message []byte) pgoutput.Message {
	m, err := d.Decode(message)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

func readByPglogrepl(t *rapid.T, description, row []byte) outbox.Envelope {
	rel, err := pglogrepl.Parse(description)
	if err != nil {
		t.Fatal(err)
	}
	insert, err := pglogrepl.Parse(row)
	if err != nil {
		t.Fatal(err)
	}
	return envelope(rel.(*pglogrepl.RelationMessage), insert.(*pglogrepl.InsertMessage))
}

// FuzzDecode checks that no bytes make the decoder panic, whatever it decoded before. A row has at
// most as many bytes as its message, apart from columns that fill several fields.
func FuzzDecode(f *testing.F) {
	for _, seed := range [][]byte{
		{},
		{'B'},
		begin(10, 1), outboxRelation(), outboxRow(), commit(10, 20), relationMessage(7, "public", "orders", "id"),
		insertMessage(outboxOID), insertMessage(7, nil), []byte("I\x00\x00\x40\x01N\x00\x09t\xff\xff\xff\xff"),
		[]byte("R\x00\x00\x40\x01public\x00outbox_events\x00d\xff\xff"),
		{'S', 0, 0, 0, 1, 1},
		{'U'},
		{'M'},
	} {
		f.Add(seed, outboxRow())
		f.Add(outboxRelation(), seed)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := pgoutput.NewDecoder(table)
		for _, message := range [][]byte{begin(10, 1), outboxRelation(), first, second} {
			m, err := d.Decode(message)
			if err != nil {
				return
			}
			if size := rowSize(m.Row); size > len(message) || m.Kind != pgoutput.KindRow && size > 0 {
				t.Fatalf("message of %d bytes and kind %d gave a row of %d bytes", len(message), m.Kind, size)
			}
		}
	})
}

func rowSize(e outbox.Envelope) int {
	return len(e.ID) + len(e.Sequence) + len(e.XID) + len(e.AggregateType) + len(e.AggregateID) + len(e.EventType) +
		len(e.Payload) + len(e.Headers) + len(e.CreatedAt)
}
