package pgoutput_test

import (
	"runtime"
	"strings"
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

// TestAnIDDoesNotKeepItsPayload: the id of a parked event stays in memory while it blocks its
// group. The test is not parallel, because memory is counted for the whole process.
func TestAnIDDoesNotKeepItsPayload(t *testing.T) {
	const events, size = 8, 1 << 20
	payload := strings.Repeat("x", size)
	d := pgoutput.NewDecoder(table)
	d.Emitted = "outbox"
	decodeAll(t, d, begin(10, 1), outboxRelation())
	for name, message := range map[string][]byte{
		"row": outboxRowWith(payload), "emitted": emittedMessage(1, "outbox", `{"id":"1","payload":"`+payload+`"}`),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var ids []string
		for range events {
			m, err := d.Decode(message)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, m.Row.ID)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 2*size {
			t.Errorf("%s: %d ids keep %d bytes", name, len(ids), kept)
		}
		runtime.KeepAlive(ids)
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
