package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// delays has the delays of events at a steady rate. A delay is the time from the commit of the
// transaction, by the server's clock, until the request with the event has arrived at the broker.
type delays struct {
	Contestant    string
	To            string
	Link          string
	PerSecond     int
	Latency       time.Duration // latency of the broker
	P50, P99, Top time.Duration // Top is the 99.9th percentile
	Requests      float64       // requests per event
	Processor     float64       // share of a core
	Refused       float64       // share of the requests, with a quota
	Settings      string
}

// steady is one measurement at a steady rate.
type steady struct {
	contestant
	link  link
	quota quotaCase // of the broker
	rate  int       // one-row transactions a second
	time  time.Duration
}

// atRate commits events at a steady rate while a relay streams.
func (r *run) atRate(ctx context.Context, s steady) (delays, error) {
	name := fmt.Sprintf("steady_%d", time.Now().UnixNano())
	b, err := r.newDatabase(ctx, name)
	if err != nil {
		return delays{}, err
	}
	to, err := r.startBroker(s.link, BrokerOptions{
		Latency: s.latency, PerSecond: s.quota.perSecond,
		Burst: s.quota.burst,
	})
	if err != nil {
		return delays{}, err
	}
	defer to.stop()
	p, err := r.startRelay(s.binary, b, s.link, base+"_"+name, s.to, to, s.settings...)
	if err != nil {
		return delays{}, err
	}
	conn, err := pgx.Connect(ctx, b.url(socket))
	if err != nil {
		return delays{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := warmUp(ctx, conn, to); err != nil {
		return delays{}, err
	}
	before := usageOf(p.process.Pid())
	written, err := commitEvenly(ctx, conn, s)
	if err != nil {
		return delays{}, err
	}
	counts, err := to.awaitEvents(ctx, written+warm)
	if err != nil {
		return delays{}, err
	}
	used := usageOf(p.process.Pid()).processor - before.processor
	waited, err := waits(ctx, conn, to)
	if err != nil {
		return delays{}, err
	}
	refused, err := refusedPart(to, s.quota)
	if err := errors.Join(err, p.stop()); err != nil {
		return delays{}, err
	}
	return delays{
		Contestant: s.name, Link: string(s.link), To: string(s.to), PerSecond: s.rate, Latency: s.latency,
		Settings: fmt.Sprint(s.settings),
		P50:      percentile(waited, 50), P99: percentile(waited, 99), Top: percentile(waited, 99.9),
		Requests:  float64(counts.Requests) / float64(counts.Events),
		Processor: used.Seconds() / s.time.Seconds(), Refused: refused,
	}, b.dropSlot(ctx, base+"_"+name)
}

// refusedPart returns the share of requests that a broker with a quota has refused.
func refusedPart(to *broker, q quotaCase) (float64, error) {
	if q.perSecond == 0 {
		return 0, nil
	}
	var c QuotaCounts
	err := to.get("/quota", &c)
	return float64(c.Refused) / float64(c.Accepted+c.Refused), err
}

// warm is the number of events before the measured ones. They open connections and warm up caches.
const warm = 200

func warmUp(ctx context.Context, conn *pgx.Conn, to *broker) error {
	for range warm {
		if err := write(ctx, conn, oneRow); err != nil {
			return err
		}
	}
	_, err := to.awaitEvents(ctx, warm)
	return err
}

func commitEvenly(ctx context.Context, conn *pgx.Conn, s steady) (written int, err error) {
	interval := time.Second / time.Duration(s.rate)
	began := time.Now()
	for due := began; time.Since(began) < s.time; due = due.Add(interval) {
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		if err := write(ctx, conn, oneRow); err != nil {
			return written, err
		}
		written++
	}
	return written, nil
}

// waits returns the sorted delays of all events.
func waits(ctx context.Context, conn *pgx.Conn, to *broker) ([]time.Duration, error) {
	arrivals := map[int]int64{}
	if err := to.get("/arrivals", &arrivals); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, `SELECT seq, pg_xact_commit_timestamp(xid::xid) FROM outbox_events
		WHERE seq > $1`, warm)
	if err != nil {
		return nil, err
	}
	var waited []time.Duration
	var seq int
	var committed time.Time
	_, err = pgx.ForEachRow(rows, []any{&seq, &committed}, func() error {
		waited = append(waited, time.Duration(arrivals[seq]-committed.UnixNano()))
		return nil
	})
	slices.Sort(waited)
	return waited, err
}

// percentile returns the smallest value of sorted that p per cent of the values do not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(float64(len(sorted))*p/100+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}
