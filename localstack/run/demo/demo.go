// Package demo posts orders to the API, reads their events from the queue, and looks for their
// shipments, which a consumer writes. It shows the product's main purpose from outside.
package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// Options are the addresses and limits of a demo.
type Options struct {
	API         string // URL without a trailing slash
	DatabaseURL string
	Endpoint    string // of the broker
	QueueURL    string
	// ShipmentsQueueURL is the queue of the function that writes the shipments.
	ShipmentsQueueURL string
	Orders            int
	Timeout           time.Duration // for the last event after the last order
	Out               io.Writer
}

// run is one run of the demo.
type run struct {
	Options
	began   time.Time
	arrived []receipt           // everything that the queue held
	events  map[string]receipt  // by order
	waiting map[string]struct{} // orders whose event has not arrived
}

// Run returns nil only if the event of every order arrived exactly as in the outbox, and every
// order has exactly one shipment, also after its event has arrived twice.
func Run(ctx context.Context, options Options) error {
	r := &run{Options: options, began: time.Now(), events: map[string]receipt{}, waiting: map[string]struct{}{}}
	reader := newReader(options.Endpoint, options.QueueURL)
	posted, arrived := make(chan order), make(chan receipt)

	group, ctx := errgroup.WithContext(ctx)
	reading, stopReading := context.WithCancel(ctx)
	group.Go(func() error { return reader.read(reading, arrived) }) // first, so that no event waits for a reader
	group.Go(func() error { return postOrders(ctx, options.API, options.Orders, posted) })
	group.Go(func() error {
		defer stopReading()
		return r.collect(ctx, posted, arrived)
	})
	err := group.Wait()
	settleErr := reader.settle(context.WithoutCancel(ctx), r.arrived, func(one receipt) bool {
		_, ours := r.events[one.aggregateID]
		return ours
	})
	if err != nil {
		return err
	}
	if settleErr != nil {
		return fmt.Errorf("delete the received events: %w", settleErr)
	}
	if err := r.conclude(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return r.ship(context.WithoutCancel(ctx), reader.client)
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.Out, "%7.3fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// collect returns when every posted order has its event. An event can arrive before the API's
// answer.
func (r *run) collect(ctx context.Context, posted <-chan order, arrived <-chan receipt) error {
	var timeout <-chan time.Time
	early := map[string]receipt{}
	for posted != nil || len(r.waiting) > 0 {
		select {
		case o, more := <-posted:
			if !more {
				posted, timeout = nil, time.After(r.Timeout)
				continue
			}
			r.say("posted   order %s in %s", o.id, o.took)
			r.waiting[o.id] = struct{}{}
			if one, ok := early[o.id]; ok {
				r.match(one)
			}
		case one := <-arrived:
			r.arrived = append(r.arrived, one)
			early[one.aggregateID] = one
			r.match(one)
		case <-timeout:
			return fmt.Errorf("%d of %d events did not arrive within %s: see make localstack-status and make "+
				"localstack-logs",
				len(r.waiting), r.Orders, r.Timeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *run) match(one receipt) {
	if _, ours := r.waiting[one.aggregateID]; !ours {
		return
	}
	delete(r.waiting, one.aggregateID)
	r.events[one.aggregateID] = one
	r.say("received order %s as %s, %s after it was written", one.aggregateID, one.eventType, one.delay())
}

// conclude compares the received events with the outbox.
func (r *run) conclude(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.DatabaseURL)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(ctx)
	var delays []time.Duration
	for _, one := range r.events {
		if err := compare(ctx, conn, one); err != nil {
			return err
		}
		delays = append(delays, one.delay())
	}
	slices.Sort(delays)
	if len(delays) == 0 {
		return nil
	}
	r.say("%s posted, %s received, each byte for byte as written; from write to receipt: median %s, slowest %s",
		counted(r.Orders, "order"), counted(len(delays), "event"), delays[len(delays)/2], delays[len(delays)-1])
	return nil
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func compare(ctx context.Context, conn *pgx.Conn, got receipt) error {
	var id, eventType, payload string
	err := conn.QueryRow(ctx, `
		SELECT id::text, event_type, payload::text FROM outbox_events
		WHERE aggregate_type = 'order' AND aggregate_id = $1`, got.aggregateID).Scan(&id, &eventType, &payload)
	if err != nil {
		return fmt.Errorf("read the event of order %s: %w", got.aggregateID, err)
	}
	if got.eventID != id || got.eventType != eventType || got.body != payload {
		return fmt.Errorf("the event of order %s arrived changed:\nwritten  %s %s %s\nreceived %s %s %s",
			got.aggregateID, id, eventType, payload, got.eventID, got.eventType, got.body)
	}
	return nil
}
