package chaos_test

import (
	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// mutant is a relay with a deliberate defect.
type mutant struct {
	name   string
	edits  []edit
	faults []string // faults that reveal the defect; empty allows all
	shapes []string // shapes of the table that reveal it; empty draws them
	// settings reveal it. They replace those that a seed draws.
	settings []string
	rules    []checker.Rule
}

// edit replaces a text that occurs once in a file.
type edit struct{ file, before, after string }

// withoutAudit disables the audit, which would find the gap and recover from it.
var withoutAudit = edit{
	"relay/cmd/relay/settings.go", `env:"RELAY_AUDIT" default:"on"`,
	`env:"RELAY_AUDIT" default:"off"`,
}

var mutants = []mutant{
	{
		name: "confirms a transaction as soon as it is read",
		edits: []edit{{
			"relay/internal/checkpoint/tracker.go",
			`t.mark(mark{kind: markCommit, lsn: end})`,
			`t.mark(mark{kind: markCommit, lsn: end}); t.position.FlushLSN = max(t.position.FlushLSN, end)`,
		}},
		faults: []string{
			"crash: save", "crash: saved, not confirmed", "broker: slow", "broker: entries failed",
			"broker: hang",
		},
		rules: []checker.Rule{checker.Lost},
	},
	{
		name: "confirms a keepalive while events are undelivered",
		edits: []edit{{
			"relay/internal/checkpoint/tracker.go",
			`if t.inTransaction || t.head != t.tail {`,
			`if t.inTransaction {`,
		}},
		faults: []string{
			"crash: save", "crash: saved, not confirmed", "broker: slow", "broker: entries failed",
			"broker: hang",
		},
		rules: []checker.Rule{checker.Lost},
	},
	{
		name: "puts several events of a group into a request to a FIFO destination",
		edits: []edit{{
			"relay/internal/delivery/scheduler.go",
			`return s.limits.FIFO && !s.options.GroupBatches`,
			`return false`,
		}},
		faults: []string{"broker: entries failed", "broker: entries throttled"},
		rules:  []checker.Rule{checker.Reordered},
	},
	{
		name: "counts a failed entry of an event bus as accepted",
		edits: []edit{{
			"relay/internal/sink/eventbridge/answer.go",
			`list[i].Err = failure(code, aws.ToString(e.ErrorMessage))`,
			`_ = failure`,
		}},
		faults: []string{"broker: entries failed", "broker: entries throttled"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "counts a refused event as delivered and does not park it",
		edits: []edit{{
			"relay/internal/deadletter/park.go",
			`	event, err := newMessage(p.Message).encode()`,
			`	if ctx != nil {
		return nil
	}
	event, err := newMessage(p.Message).encode()`,
		}},
		faults: []string{"crash: park"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "recovers without regard to the horizon",
		edits: []edit{{
			"relay/internal/checkpoint/store.go",
			`recover_from = coalesce(recover_from, nullif($4, '')::pg_snapshot, horizon, '3:3:')`,
			`recover_from = coalesce(nullif($4, ''), pg_current_snapshot()::text)::pg_snapshot`,
		}},
		faults: []string{"slot dropped, down", "slot recreated", "slot invalidated"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "skips the log of an intact slot when a loss is accepted",
		edits: []edit{{
			"relay/internal/checkpoint/accept.go",
			`flush_lsn = CASE WHEN $4 AND system_identifier = $3 THEN flush_lsn END`,
			`flush_lsn = CASE WHEN $4 THEN pg_current_wal_insert_lsn() END`,
		}},
		shapes: []string{"debezium"},
		faults: []string{"publication restated"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "accepts any slot as complete",
		edits: []edit{{
			"relay/internal/recovery/judge.go",
			`case s.ConfirmedFlushLSN > row.Position.FlushLSN:`,
			`case false:`,
		}},
		faults: []string{"slot recreated", "slot advanced"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "overlooks a changed publication",
		edits: []edit{
			{"relay/internal/recovery/judge.go", `case fingerprint != row.Fingerprint:`, `case false:`},
			{
				"relay/internal/checkpointer/checkpointer.go", `if err := c.suspect(seen); err != nil {`,
				`if err := error(nil); err != nil {`,
			},
			withoutAudit,
		},
		faults: []string{"publication without table", "publication without inserts", "publication recreated"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "removes rows that it has not delivered",
		edits: []edit{
			{
				"relay/internal/retention/remover.go",
				"WHERE r.obstacle IS NOT NULL OR (pg_visible_in_snapshot(b.xid, r.horizon)\n\t\t\t\tAND " +
					"b.later_writer < r.ended) IS NOT TRUE)",
				"WHERE r.obstacle IS NOT NULL)",
			},
			{
				"relay/internal/retention/remover.go",
				"WHERE r.obstacle IS NOT NULL OR (pg_visible_in_snapshot(e.{xid}, r.horizon)\n\t\t\t\tAND " +
					"{later_writer} < r.ended) IS NOT TRUE)",
				`WHERE r.obstacle IS NOT NULL)`,
			},
		},
		faults: []string{"slot dropped, broker unavailable"},
		// A relay removes nothing while its window is full, and keeps the rows of deferred events
		// by another condition.
		settings: []string{"RELAY_RETENTION=1s", "RELAY_WINDOW_EVENTS=8192", "RELAY_PARK_AFTER=0s"},
		rules:    []checker.Rule{checker.Lost},
	},
	{
		name: "publishes without a lease, and does not look whether it holds the slot",
		edits: []edit{
			{
				"relay/internal/slot/fence.go", "	l.mu.Lock()\n	defer l.mu.Unlock()\n	now := time.Now()",
				"	if l != nil {\n		return nil\n	}\n	now := time.Now()",
			},
			{"relay/internal/checkpointer/checkpointer.go", `if !seen.Held {`, `if false {`},
		},
		faults: []string{"freeze"},
		rules:  []checker.Rule{checker.Fenced},
	},
	{
		name: "continues when the server is unreachable",
		edits: []edit{
			{
				"relay/internal/slot/fence.go", "	l.mu.Lock()\n	defer l.mu.Unlock()\n	now := time.Now()",
				"	if l != nil {\n		return nil\n	}\n	now := time.Now()",
			},
			{
				"relay/internal/checkpointer/checkpointer.go", `context.WithTimeout(ctx, c.Timeout/2)`,
				`context.WithTimeout(ctx, time.Minute)`,
			},
			{
				"relay/internal/deadletter/redriver.go", `context.WithTimeout(ctx, r.Timeout)`,
				`context.WithTimeout(ctx, time.Minute)`,
			},
			{
				"relay/internal/replication/stream.go", `now.Sub(s.source.receivedAt) > s.config.SenderTimeout`,
				`now.Sub(s.source.receivedAt) > time.Minute`,
			},
		},
		faults: []string{"network: cut off"},
		rules:  []checker.Rule{checker.Fenced},
	},
	{
		name: "lets events overtake those of their aggregate that are parked",
		edits: []edit{{
			"relay/internal/delivery/redrive.go",
			`	if blocked {`,
			`	if blocked && e == nil {`,
		}},
		faults: []string{"crash: park"},
		rules:  []checker.Rule{checker.Reordered},
	},
	{
		name: "marks a dead letter as redriven before it is sent",
		edits: []edit{{
			"relay/internal/delivery/publish.go",
			`	results, err := s.request(events)`,
			`	for _, e := range events {
		if e.isRedriven() {
			_ = s.delivery.deps.Parker.Redriven(s.delivery.requests, e.DeadLetter.Position)
		}
	}
	results, err := s.request(events)`,
		}},
		faults: []string{"operator: redrive"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "replays without regard to the horizon",
		edits: []edit{{
			"relay/internal/replay/replay.go",
			"WHEN pg_visible_in_snapshot(e.{xid}, $7::pg_snapshot) THEN 'delivered'",
			"WHEN $7::text <> '' THEN 'delivered'",
		}},
		faults: []string{"operator: replay"},
		rules:  []checker.Rule{checker.Replayed},
	},
	{
		name: "defers a destination and stores no deferral",
		edits: []edit{{
			deferralBegin,
			`	if err := w.Store.Begin(ctx, stored); err != nil {`,
			`	if err := ctx.Err(); err != nil {`,
		}},
		faults: []string{"broker: one destination unavailable for long"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "recycles an event that was not delivered",
		edits: []edit{{
			"relay/internal/delivery/sender.go",
			`return e.err != nil || e.isManual() || e.Settled != nil`,
			`return e.isManual() || e.Settled != nil`,
		}},
		faults: []string{"broker: entries failed", "broker: entries throttled", "broker: unavailable"},
		// the relay usually crashes
		rules: []checker.Rule{checker.Lost, checker.Phantom, checker.Stuck, checker.Broken},
	},
	{
		name: "forwards streamed events only when more arrive",
		edits: []edit{{
			"relay/internal/replication/stream.go",
			"time.Time) error {\n	h.Flush()\n",
			"time.Time) error {\n",
		}},
		faults: []string{"broker: slow"},
		rules:  []checker.Rule{checker.Lost, checker.Stuck},
	},
	{
		name: "keeps a horizon that was not reached over a reconnect",
		edits: []edit{
			{
				"relay/internal/checkpointer/checkpointer.go",
				`savedAt: time.Now(),`,
				`savedAt: time.Now(), pending: keptHorizon,`,
			},
			{
				"relay/internal/checkpointer/checkpointer.go", "type Checkpointer struct {",
				"var keptHorizon audit.Horizon\n\ntype Checkpointer struct {",
			},
			{
				"relay/internal/checkpointer/checkpointer.go", `c.Auditor.Expect(c.pending)`,
				`keptHorizon = c.pending; c.Auditor.Expect(c.pending)`,
			},
			{
				"relay/internal/checkpointer/checkpointer.go",
				`c.horizonDelivered, c.horizonSaved, c.pending = c.pending.Delivered, true, audit.Horizon{}`,
				`c.horizonDelivered, c.horizonSaved, c.pending, keptHorizon = ` +
					`c.pending.Delivered, true, audit.Horizon{}, audit.Horizon{}`,
			},
			withoutAudit,
		},
		faults: []string{"xids reused"},
		rules:  []checker.Rule{checker.Lost},
	},
	{
		name: "parks events because of its credentials",
		edits: []edit{{
			"relay/internal/delivery/publish.go",
			`	default:
		s.noteFailed(len(events))`,
			`	case sink.ConcernsCredentials(err):
		for _, e := range events {
			s.park(e, &sink.RejectedError{Code: sink.Code(err), Reason: err.Error()})
		}
	default:
		s.noteFailed(len(events))`,
		}},
		faults: []string{"credentials: refused", "signature: token expired"},
		rules:  []checker.Rule{checker.Parked},
	},
	{
		name: "treats a destination as unavailable when credentials fail",
		edits: []edit{{
			"relay/internal/delivery/outcome.go", `s.credentialsFailed = credentialsFailed`,
			`s.credentialsFailed = credentialsFailed && false`,
		}},
		faults:   []string{"credentials: denied", "signature: wrong"},
		shapes:   []string{"quarkus", "debezium"}, // events that cannot wait in the table are parked
		settings: []string{"RELAY_PARK_AFTER=700ms"},
		rules:    []checker.Rule{checker.Parked},
	},
	{
		name: "accepts a page with status 200 as an acknowledgement",
		edits: []edit{
			{
				"relay/internal/sink/sqs/answer.go", `		return nil, answer.Error("", err)`,
				`		if answer.Status == 200 {
			return make([]sink.Result, len(batch)), nil
		}
		return nil, answer.Error("", err)`,
			},
			{
				"relay/internal/sink/sns/answer.go", `		return nil, fmt.Errorf("read the answer: %w", err)`,
				`		_ = fmt.Errorf
		return make([]sink.Result, entries), nil`,
			},
		},
		faults:   []string{"proxy: page"},
		settings: []string{"RELAY_AWS_CLIENT=direct"}, // otherwise the SDK reads the answer
		rules:    []checker.Rule{checker.Lost},
	},
	{
		name: "accepts the answer to another request",
		edits: []edit{{
			"relay/internal/sink/answer.go",
			`	if a.unknown {`,
			`	if a.unknown {
		return make([]Result, len(a.results)), nil
	}
	if a.unknown {`,
		}},
		faults: []string{"proxy: cached answer"},
		rules:  []checker.Rule{checker.Lost},
	},
}

// testedMutant is a mutant whose defect the chaos runs cannot show. A test of its package shows it.
type testedMutant struct {
	mutant
	pkg, test string
}

var testedMutants = []testedMutant{
	{
		mutant: mutant{
			name: "counts a page of a replay as sent before it is",
			edits: []edit{{
				"relay/internal/replay/replayer.go",
				`		if outcome, err = r.send(ctx, replay.ID, page.Events); err != nil {`,
				`		if replay, err = r.Store.Passed(ctx, replay, page, Outcome{}); err != nil {
			return nil, err
		}
		if outcome, err = r.send(ctx, replay.ID, page.Events); err != nil {`,
			}},
		},
		pkg: "./relay/e2e", test: "TestReplayResumesAfterAKill",
	},
	{
		mutant: mutant{
			name: "replaces a slot that is intact",
			edits: []edit{{
				"relay/internal/leadership/acquire.go", `case row.Recovery.IsMarked() && state.IsIntact():`,
				`case false:`,
			}},
		},
		pkg: "./relay/e2e", test: "TestGapKeepsEventsThatOnlyTheSlotHas",
	},
	{
		mutant: mutant{
			name: "removes rows of a partition that is not accounted for",
			edits: []edit{
				{
					"relay/internal/retention/remover.go", `AND b.old AND b.accounted AND NOT b.waits`,
					`AND b.old AND NOT b.waits`,
				},
				{"relay/internal/retention/remover.go", `now() - $5::interval AND {accounted}`, `now() - $5::interval`},
			},
		},
		pkg: "./relay/internal/retention", test: "TestRowsOfAPartitionThatIsNotAccountedForStay",
	},
	{
		mutant: mutant{
			name: "trusts an xid that a producer invented",
			edits: []edit{{
				"relay/internal/outboxtable/members.go", `return "CASE WHEN " + row`,
				`return "CASE WHEN true OR " + row`,
			}},
		},
		pkg: "./relay/internal/retention", test: "TestARowStaysUntilItsRealWriterIsDelivered",
	},
}
