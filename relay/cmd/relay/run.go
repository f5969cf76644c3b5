package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/relay/internal/backlog"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/emf"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/history"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/relay"
	"github.com/outbox-relay/outbox-relay/relay/internal/status"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/internal/telemetry"
)

// memoryLimit is the memory limit of the Go runtime. It covers the window at its default size, the
// requests in flight and some reserve. The program has 11 MB of it at rest. About 27 MB of the
// program's file are mapped beside it: those pages are clean, so the kernel drops some of them
// where a container of 64 MB needs the room. A busy machine exceeds the limit by 8 MB in `make
// outage`. Set GOMEMLIMIT for larger windows.
// https://pkg.go.dev/runtime#hdr-Environment_Variables
const memoryLimit = 40 << 20

// startRetryMin and startRetryMax bound the pause between two attempts to start.
const startRetryMin, startRetryMax = 250 * time.Millisecond, 10 * time.Second

type runCommand struct{ relaySettings }

// Run relays until ctx ends.
func (c *runCommand) Run(ctx context.Context) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	log := c.logger(os.Stderr)
	m := metrics.New()
	h := health.New(m)
	h.HideMetrics = c.Metrics == "emf" || c.Metrics == "none"
	watch := backlog.New()
	oldest := func() time.Duration { return watch.Age(time.Now()) }
	m.Oldest(oldest)
	destinations := status.NewDestinations(m)
	local := status.NewLocal(version, h, m, oldest, destinations)
	h.Slot, h.Instance = c.Slot, local.Instance()
	local.MissingGuarantees = c.missingGuarantees()
	recent := &history.Recent{}
	stop, listenErr := c.report(ctx, log, h, m, watch, local, recent)
	exporter := openTelemetry(ctx, os.Getenv, telemetry.Settings{
		Version: version, Slot: c.Slot, Instance: local.Instance(), Gatherer: m.Registry(),
		Dropped: m.SpansDropped, Log: log,
	})
	defer exporter.Close()
	config, err := c.await(ctx, log, h, listenErr)
	if err != nil {
		return errors.Join(err, stop())
	}
	config.Log, config.Metrics, config.Health, config.Backlog, config.Observer = log, m, h, watch, destinations
	config.Recorder = exporter.Recorder(recent)
	config.Router.OnUnknown(newUnrouted(config.Router, log, m).count)
	for _, d := range config.Destinations {
		if !d.Patterned {
			destinations.Expect(d.Name)
		}
	}
	log.Info("relay started", "version", version, "slot", c.Slot, "table", c.Table, "destinations",
		config.Router.Destinations(), "listen", c.Listen)
	return errors.Join(relay.Run(ctx, config), stop())
}

// missingGuarantees returns the names of the guarantees that the columns in the settings do not
// allow.
func (c *runCommand) missingGuarantees() []string {
	table, _ := c.table() // the start reports its problems
	isFIFO := strings.HasSuffix(c.Destination, ".fifo") || strings.Contains(c.Routes, ".fifo")
	var names []string
	for _, g := range outboxtable.MissingGuarantees(table, isFIFO) {
		names = append(names, g.Name)
	}
	return names
}

// report serves the probes and writes the metrics if the settings ask for them, until stop is
// called. It covers the start and the stop of the relay too, because the relay is alive then.
func (c *runCommand) report(
	ctx context.Context, log *slog.Logger, h *health.Health, m *metrics.Metrics, watch *backlog.Watch,
	local *status.Local, recent *history.Recent,
) (stop func() error, err error) {
	reporting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var parts errgroup.Group
	open := func(ctx context.Context) (*pgxpool.Pool, error) { return control.OpenPool(ctx, c.connect) }
	if looker := c.looker(log, h, m, watch); looker != nil {
		parts.Go(func() error {
			looker.Run(reporting, open)
			return nil
		})
	}
	shown := &shownPool{open: open}
	parts.Go(func() error {
		reporter := &status.Reporter{Slot: c.Slot, Look: local.Report, Open: shown.get, Log: log}
		reporter.Run(reporting)
		return nil
	})
	h.Page, h.Troubled = shown.page(&c.source, local, recent), local.Troubled
	if c.Listen != "" {
		var served func() error
		if served, err = h.Serve(reporting, c.Listen); err == nil {
			parts.Go(served)
		}
	}
	// an invalid interval is reported with the settings
	if (c.Metrics == "emf" || c.Metrics == "both") && c.MetricsInterval >= minMetricsInterval {
		parts.Go(func() error {
			source := emf.Source{Deployment: c.MetricsDeployment, Slot: c.Slot}
			emf.NewWriter(m.Registry(), source, os.Stdout).Run(reporting, c.MetricsInterval, func(err error) {
				log.Warn("metrics are not written", "err", err)
			})
			return nil
		})
	}
	return func() error {
		defer shown.Close()
		cancel()
		return parts.Wait()
	}, err
}

// looker returns the Looker that finds waiting events while the relay does not stream. It returns
// nil if the settings are invalid.
func (c *runCommand) looker(log *slog.Logger, h *health.Health, m *metrics.Metrics,
	watch *backlog.Watch,
) *backlog.Looker {
	table, problems := c.table()
	start, err := parseStart(c.Start, c.ColumnCreatedAt)
	if err != nil || len(problems) > 0 { // the start reports them
		return nil
	}
	looker := &backlog.Looker{
		Watch: watch, Slot: c.Slot, Table: table, From: recovery.NothingDelivered, Log: log,
		StandsBy: func() bool { return h.State() == health.Standby }, Slots: m.SlotLooked,
	}
	switch start.Mode {
	case leadership.StartNow:
		looker.From = ""
	case leadership.StartSince:
		looker.Since = start.Since.UTC().Format(time.RFC3339Nano)
	}
	return looker
}

// await repeats the checks until the relay has everything that it needs. It retries transient
// errors without limit. A definite refusal ends it at once, with all findings.
func (c *runCommand) await(ctx context.Context, log *slog.Logger, h *health.Health, listenErr error) (relay.Config,
	error,
) {
	// A destination that does not answer must not look like a dead relay.
	alive := preflight.Progress{Found: func(preflight.Finding) { h.Alive() }}
	for attempt := 1; ; attempt++ {
		config, found := c.prepare(ctx, log, alive)
		if listenErr != nil {
			found = append(found, preflight.ListenError(c.Listen, listenErr))
		}
		err := found.Err()
		switch {
		case ctx.Err() != nil:
			return config, ctx.Err()
		case err == nil:
			for _, finding := range found.Of(preflight.Degraded) {
				log.Warn(finding.Explanation, "finding", finding.Code, "object", finding.Object, "statement",
					finding.Statement)
			}
			return config, nil
		case !preflight.OnlyTransient(err):
			return config, fmt.Errorf("cannot start:\n%s%w", explanations(found, preflight.CodeUnknownSetting), err)
		}
		h.Failed(err)
		log.Warn("the start waits for a peer: trying again", "event", "start_retried", "attempt", attempt, "err", err)
		task.Sleep(ctx, min(startRetryMax, startRetryMin<<min(attempt-1, 10)))
	}
}

// explanations returns those of the findings with this code, one a line. A misspelt setting is the
// cause of errors that name only the setting that it should have been.
func explanations(found preflight.Findings, code preflight.Code) (lines string) {
	for _, finding := range found {
		if finding.Code == code {
			lines += finding.Explanation + "\n"
		}
	}
	return lines
}
