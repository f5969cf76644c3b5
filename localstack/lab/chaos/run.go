package chaos

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

// run is one run with its database, broker, writers, relays and records.
type run struct {
	options      Options
	plan         *Plan
	shape        *shape
	cluster      *cluster
	database     string
	slot         string
	writers      *pgxpool.Pool
	admin        *pgxpool.Pool // superuser
	broker       *fakeaws.Server
	secured      *terminator     // in front of the broker; nil without TLS
	issuer       *fakeaws.Issuer // issues the relays' credentials
	refusal      *fakeaws.Rule   // refuses the events that an operator can repair
	destinations []destination
	links        []link // to the database, by the place of the relay
	relays       *processes
	recorder     *recorder
	clock        func() time.Duration
	began        time.Duration // start of the load
	quiet        sync.RWMutex  // held for writing while no writer may begin a transaction
	refusals     refusals
	twins        twins
}

// link is the connection of a relay's place to the database.
type link struct {
	network *faultproxy.Network
	url     string
}

const setupTimeout = time.Minute

func newRun(ctx context.Context, o Options, plan *Plan, c *cluster) (*run, error) {
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	name := fmt.Sprintf("run_%d", plan.Seed)
	r := &run{
		options: o, plan: plan, shape: plan.shape(), cluster: c, database: name, slot: name, clock: clock,
		recorder: &recorder{clock: clock},
	}
	r.relays = &processes{run: r, places: make([]*relay, plan.Relays)}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *run) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if err := r.cluster.exec(ctx, "CREATE DATABASE "+r.database+" OWNER "+writerRole); err != nil {
		return fmt.Errorf("create database %s: %w", r.database, err)
	}
	var err error
	if r.writers, err = pgxpool.New(ctx, r.cluster.url(r.database, writerRole)+"&pool_max_conns=40"); err != nil {
		return err
	}
	if r.admin, err = pgxpool.New(ctx, r.cluster.url(r.database, "postgres")); err != nil {
		return err
	}
	if err := r.migrate(ctx); err != nil {
		return err
	}
	if err := r.connect(); err != nil {
		return err
	}
	if r.broker, err = fakeaws.Start(fakeaws.Options{}); err != nil {
		return err
	}
	if r.plan.BrokerTLS {
		if r.secured, err = newTerminator(strings.TrimPrefix(r.broker.URL(), "http://"), r.cluster.keys); err != nil {
			return err
		}
	}
	if err := r.startIssuer(); err != nil {
		return err
	}
	if err := r.createDestinations(); err != nil {
		return err
	}
	for _, a := range r.aggregates() {
		if _, err := r.writers.Exec(ctx, `INSERT INTO aggregates VALUES ($1)`, a.key()); err != nil {
			return err
		}
	}
	return nil
}

// connect creates a network for each place.
func (r *run) connect() error {
	for place := range r.plan.Relays {
		url := r.cluster.url
		if r.plan.DatabaseTLS {
			url = r.cluster.securedURL
		}
		n, through, err := faultproxy.To(url(r.database, fmt.Sprintf(relayRole, place)))
		if err != nil {
			return err
		}
		r.links = append(r.links, link{n, through})
	}
	return nil
}

// play runs the load and the faults, ends all faults, waits until every event has arrived, and
// returns the history.
func (r *run) play(ctx context.Context) (*checker.History, error) {
	if err := r.relays.startAll(); err != nil {
		return nil, err
	}
	if !r.plan.ColdStart && !r.relays.awaitStreaming(ctx, setupTimeout) {
		return nil, fmt.Errorf("no relay of %s streams: %s", r.plan, lastLogLines(r.relays.all[len(r.relays.all)-1]))
	}
	r.began = r.clock()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var writers, injecting errgroup.Group
	for i := range r.plan.Load.Writers {
		w := &writer{run: r, number: i, random: rand.New(rand.NewPCG(r.plan.Seed, uint64(i)+1))}
		writers.Go(func() error { w.write(writing); return nil })
	}
	injecting.Go(func() error { return r.follow(ctx, r.plan.Steps, faults) })
	injecting.Go(func() error { return r.follow(ctx, r.plan.BrokerFaults, brokerFaults) })
	err := injecting.Wait()
	pause(ctx, r.began+r.plan.Load.Length-r.clock())
	stop()
	_ = writers.Wait() // a failed transaction is recorded and is not an error
	if err != nil {
		return nil, err
	}
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	return r.history(ctx)
}

// follow injects the faults of a plan one after the other, each not before its time.
func (r *run) follow(ctx context.Context, steps []Step, from []fault) error {
	for _, step := range steps {
		pause(ctx, r.began+step.At-r.clock())
		if ctx.Err() != nil {
			return nil
		}
		for _, f := range from {
			if f.name != step.Fault {
				continue
			}
			if err := r.inject(ctx, f, rand.New(rand.NewPCG(step.Seed, 1))); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	return nil
}

// noticedWithin is the time in which a relay may still notice a fault that is over.
const noticedWithin = 3 * time.Second

// inject applies f to the run and records it.
func (r *run) inject(ctx context.Context, f fault, random *rand.Rand) error {
	ended := r.recorder.began(checker.Fault{
		Kind: f.name, Repeats: f.repeats, Hides: f.hides, Partial: f.partial,
		Skips: f.skips, Strands: f.strands, Identity: f.identity,
	})
	act := &act{run: r, random: random}
	if f.refuses != "" {
		r.refusals.allow(f.refuses, math.MaxInt64)
		defer func() { r.refusals.allow(f.refuses, r.clock()+noticedWithin) }()
	}
	err := f.do(ctx, act)
	ended(act.note)
	return err
}

// settle ends all faults, waits until every event has arrived, and stops the relays.
func (r *run) settle(ctx context.Context) error {
	if err := r.repair(ctx); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if err := r.relays.startAll(); err != nil {
		return err
	}
	if hasSeveral(r.plan) {
		if err := r.inject(ctx, tableJoins, rand.New(rand.NewPCG(r.plan.Seed, 2))); err != nil {
			return err
		}
	}
	if r.awaitArrived(ctx) { // otherwise the later steps would wait in vain too
		if err := r.finishReplays(ctx); err != nil {
			return fmt.Errorf("finish replays: %w", err)
		}
		if err := r.treatDeadLetters(ctx); err != nil {
			return fmt.Errorf("treat dead letters: %w", err)
		}
		r.awaitArrived(ctx)
	}
	r.relays.awaitStreaming(ctx, r.options.Settle)
	for _, p := range r.relays.running() {
		if drained, err := r.relays.stop(p); err != nil {
			r.recorder.problem("%v", err)
		} else if !drained {
			r.recorder.problem("%s stopped with undelivered events, although no fault was active", p.name)
		}
	}
	return ctx.Err()
}

// awaitArrived waits until every event is delivered, parked or discarded, and reports whether that
// happened.
func (r *run) awaitArrived(ctx context.Context) bool {
	missing := awaitNone(ctx, r.options.Settle, func() (int, error) { return r.missing(ctx) })
	if missing > 0 {
		r.recorder.problem("%d events had not arrived, and none did for %v", missing, r.options.Settle)
	}
	return missing == 0
}

// close ends all processes and drops the database.
func (r *run) close() error {
	r.relays.end()
	for _, w := range r.links {
		w.network.Close()
	}
	if r.broker != nil {
		_ = r.broker.Close()
	}
	if r.secured != nil {
		r.secured.close()
	}
	if r.issuer != nil {
		_ = r.issuer.Close()
	}
	for _, pool := range []*pgxpool.Pool{r.writers, r.admin} {
		if pool != nil {
			pool.Close()
		}
	}
	return r.cluster.drop(context.Background(), r.database)
}
