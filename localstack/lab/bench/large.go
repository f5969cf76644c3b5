package bench

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// largeAmong takes minutes and 6 GB of disk, so it runs only on request.
	largeAmong = "large among small"
	// largeBytes is the payload of a large event, which exceeds every message.
	largeBytes = 2 << 20
	// smallPerLarge is how many small events one large event is among.
	smallPerLarge = 100
	// largeMemory bounds the memory of the relay, in MB: it is promised for events of 10 MiB.
	largeMemory = 96
)

// mixed has the figures of a backlog of small events, with or without large ones among them.
type mixed struct {
	Contestant string
	Small      int
	Large      int
	PerSecond  float64 // small events a second, from the first to the last of them
	Peak       float64 // MB
	Unordered  int     // events that arrived before an earlier one of their aggregate
	Whole      int     // large events whose object has the size and the checksum of the payload
}

// largeAmongSmall measures two backlogs that differ only in the large events.
func (r *run) largeAmongSmall(ctx context.Context) error {
	if r.Only != largeAmong {
		return nil
	}
	small := min(r.Events, 100_000)
	for _, large := range []int{0, small / smallPerLarge} {
		b, err := r.newDatabase(ctx, fmt.Sprintf("among_%d", large))
		if err != nil {
			return err
		}
		r.logf("writing a backlog of %d events of 300 bytes and %d of 2 MiB", small, large)
		if err := b.fillMixed(ctx, small, large); err != nil {
			return err
		}
		for range r.Rounds {
			for _, c := range r.relays(fifoQueue, near) {
				if err := r.drainMixed(ctx, b, c, mixed{Contestant: c.name, Small: small, Large: large}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fillMixed writes small events, and large ones evenly among them, of the same aggregates. It is
// one writer, so the order of the commits is that of seq.
func (b *backlog) fillMixed(ctx context.Context, small, large int) error {
	conn, err := pgx.Connect(ctx, b.url(tcp))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "SET synchronous_commit = off"); err != nil {
		return err
	}
	for n := range small {
		if err := write(ctx, conn, oneRow); err != nil {
			return err
		}
		if large == 0 || n%smallPerLarge != 0 {
			continue
		}
		if _, err := conn.Exec(ctx, insertRows, aggregates, incompressible(largeBytes), traceparent, 1); err != nil {
			return err
		}
	}
	b.events = small + large
	return b.exec(ctx, "CHECKPOINT")
}

// incompressible returns a JSON document of this size that the server cannot compress.
func incompressible(bytes int) string {
	random := make([]byte, base64.StdEncoding.DecodedLen(bytes))
	source := rand.NewChaCha8([32]byte{byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())})
	_, _ = source.Read(random) // cannot fail
	text := base64.StdEncoding.EncodeToString(random)
	return payload(bytes)[:200] + text[:bytes-202] + `"}`
}

// drainMixed lets a relay drain a backlog through a bucket.
func (r *run) drainMixed(ctx context.Context, b *backlog, c contestant, m mixed) error {
	slot := fmt.Sprintf("bench_%d", time.Now().UnixNano())
	if err := b.newSlot(ctx, slot); err != nil {
		return err
	}
	to, err := r.startBroker(secured, BrokerOptions{Latency: c.latency})
	if err != nil {
		return err
	}
	defer to.stop()
	p, err := r.startRelay(c.binary, b, secured, slot, c.to, to, "RELAY_LARGE_EVENTS_BUCKET=large")
	if err != nil {
		return err
	}
	running, cancel := p.whileItRuns(ctx)
	_, err = to.awaitEvents(running, b.events)
	cancel()
	m.Peak = float64(usageOf(p.process.Pid()).peak) / (1 << 20)
	if err := errors.Join(err, p.stop()); err != nil {
		return err
	}
	if err := m.check(ctx, b, to); err != nil {
		return err
	}
	r.mixed = append(r.mixed, m)
	r.logf("%-14s %d small and %d large events: %.0f small events/s, %.1f MB, %d out of order, %d objects are whole",
		m.Contestant, m.Small, m.Large, m.PerSecond, m.Peak, m.Unordered, m.Whole)
	return b.dropSlot(ctx, slot)
}

// check compares the events and objects that arrived with the rows of the table.
func (m *mixed) check(ctx context.Context, b *backlog, to *broker) error {
	arrivals, objects := map[int]int64{}, map[string]Object{}
	if err := errors.Join(to.get("/arrivals", &arrivals), to.get("/objects", &objects)); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, b.url(tcp))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT id::text, seq::int, aggregate_id, bytes,
			CASE WHEN bytes > $1 / 2 THEN encode(sha256(convert_to(payload::text, 'UTF8')), 'hex') ELSE '' END
		FROM outbox_events, octet_length(payload::text) AS bytes ORDER BY seq`, largeBytes)
	if err != nil {
		return err
	}
	c := newComparison(arrivals, objects)
	var row written
	_, err = pgx.ForEachRow(rows, []any{&row.id, &row.seq, &row.aggregate, &row.Bytes, &row.SHA256}, func() error {
		c.add(row)
		return nil
	})
	m.Unordered, m.Whole = c.unordered, c.whole
	m.PerSecond = float64(c.small) / time.Duration(c.last-c.first).Seconds()
	return err
}

// written is a row of the table. The checksum of its payload is empty if the event is small.
type written struct {
	id        string
	seq       int
	aggregate string
	Object
}

// comparison compares rows with the messages and objects that arrived.
type comparison struct {
	arrivals map[int]int64
	objects  map[string]Object // by event id
	latest   map[string]int64  // arrival, by aggregate

	unordered, whole, small int
	first, last             int64 // arrivals of small events
}

func newComparison(arrivals map[int]int64, objects map[string]Object) *comparison {
	c := &comparison{arrivals: arrivals, objects: map[string]Object{}, latest: map[string]int64{}}
	for key, object := range objects {
		id, _, _ := strings.Cut(key, "/")
		c.objects[id] = object
	}
	return c
}

// add compares the next row, in the order of seq.
func (c *comparison) add(row written) {
	at := c.arrivals[row.seq]
	if at == 0 || at < c.latest[row.aggregate] {
		c.unordered++
	}
	c.latest[row.aggregate] = max(at, c.latest[row.aggregate])
	switch {
	case row.SHA256 == "":
		c.small++
		c.first, c.last = min(cmp.Or(c.first, at), at), max(c.last, at)
	case c.objects[row.id] == row.Object:
		c.whole++
	}
}

func printMixed(w io.Writer, all []mixed) {
	fmt.Fprintln(w,
		"large among small\tsmall events\tlarge events\tsmall events/s\tpeak\tout of order\twhole objects\t")
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%.0f MB\t%d\t%d\t\n", m.Contestant, m.Small, m.Large, m.PerSecond, m.Peak,
			m.Unordered, m.Whole)
	}
}

// judgeMixed returns the targets for large events among small ones.
func judgeMixed(all []mixed) []goal {
	if len(all) == 0 {
		return nil
	}
	var peak float64
	var unordered, broken int
	for _, m := range all {
		peak, unordered, broken = max(peak, m.Peak), unordered+m.Unordered, broken+m.Large-m.Whole
	}
	return []goal{
		{"large events: below 96 MB", fmt.Sprintf("%.0f MB", peak), peak < largeMemory},
		{"large events: in order for each aggregate", fmt.Sprintf("%d out of order", unordered), unordered == 0},
		{"large events: every object is whole", fmt.Sprintf("%d broken", broken), broken == 0},
	}
}
