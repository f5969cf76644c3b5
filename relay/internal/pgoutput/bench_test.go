package pgoutput_test

import (
	"testing"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
)

// TestFiftyRowsCostOneAllocation is not parallel, because allocations are counted for the whole
// process.
func TestFiftyRowsCostOneAllocation(t *testing.T) {
	d := pgoutput.NewDecoder(table)
	decodeAll(t, d, begin(10, 1), outboxRelation(), outboxRow())
	row := outboxRow()
	allocations := testing.AllocsPerRun(100, func() {
		for range 50 {
			if _, err := d.Decode(row); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocations > 1 {
		t.Errorf("%v allocations", allocations)
	}
}

func BenchmarkDecodeRow(b *testing.B) {
	d := pgoutput.NewDecoder(table)
	for _, message := range [][]byte{begin(10, 1), outboxRelation()} {
		if _, err := d.Decode(message); err != nil {
			b.Fatal(err)
		}
	}
	row := outboxRow()
	b.ReportAllocs()
	b.SetBytes(int64(len(row)))
	for b.Loop() {
		if _, err := d.Decode(row); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeRowByPglogrepl is the reference for this package's decoder.
func BenchmarkDecodeRowByPglogrepl(b *testing.B) {
	row := outboxRow()
	b.ReportAllocs()
	b.SetBytes(int64(len(row)))
	for b.Loop() {
		if _, err := pglogrepl.Parse(row); err != nil {
			b.Fatal(err)
		}
	}
}
