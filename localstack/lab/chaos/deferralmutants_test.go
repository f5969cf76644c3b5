package chaos_test

const (
	deferralGate   = "relay/internal/deferral/joining.go"
	deferralDrain  = "relay/internal/deferral/drain.go"
	deferralWorker = "relay/internal/deferral/worker.go"
	deferralRules  = "relay/internal/deferral/predicate.go"
)

// deferralMutants break the rules by which events of an unavailable destination wait in the outbox
// table.
var deferralMutants = []testedMutant{
	{
		mutant: mutant{name: "defers by the seq alone", edits: []edit{
			{deferralRules, `((pg_visible_in_snapshot({xid}, {deferral}known) AND {seq} < `, `(({seq} < `},
			{deferralRules, `return m.known.Visible(xid) && seq < m.fromSeq`, `return seq < m.fromSeq`},
		}},
		pkg: "./relay/e2e", test: "TestALateCommitIsDelivered",
	},
	{
		mutant: mutant{name: "defers with a snapshot that the stream has not passed", edits: []edit{{
			deferralWorker, `known := w.Gate.Past() //`, `now, _ := w.Store.Observe(ctx)
	known := now.Snapshot //`,
		}}},
		pkg: "./relay/e2e", test: "TestALateCommitIsDelivered",
	},
	{
		mutant: mutant{name: "joins the stream while a commit awaits a standby", edits: []edit{{
			deferralDrain, `!w.Gate.isShown(h, passed.known, w.firstXID) || `, ``,
		}}},
		pkg: "./relay/e2e", test: "TestACommitThatAwaitsAStandbyIsDeferred",
	},
	{
		mutant: mutant{name: "keeps rows by their seq alone", edits: []edit{{
			deferralRules, `+ NotDoneSQL(table, row, "waits.") +`,
			`+ row + pgoutput.Quote(table.Columns.Sequence) + " >= waits.from_seq" +`,
		}}},
		pkg: "./relay/e2e", test: "TestRetentionKeepsWhatWaits",
	},
	{
		mutant: mutant{name: "sends the rows of a recovery past the gate", edits: []edit{{
			"relay/internal/ingest/handler.go", `h.Gate.Send(destination, event)`,
			`h.Delivery.Send(destination, event)`,
		}}},
		pkg: "./relay/e2e", test: "TestADeferralOutlivesAGap",
	},
	{
		mutant: mutant{name: "counts events as handed over before the deferral is stored", edits: []edit{
			{deferralWorker, `	if err := w.Store.Begin(ctx, stored); err != nil {
		return err
	}
`, ``},
			{deferralWorker, `return w.Senders.Withdraw(destination, covered)
	})
`, `return w.Senders.Withdraw(destination, covered)
	})
	if err := w.Store.Begin(ctx, stored); err != nil {
		return err
	}
`},
		}},
		pkg: "./relay/e2e", test: "TestADeferralIsKilledAtEachStep",
	},
	{
		mutant: mutant{name: "counts a row as done before its dead letter is stored", edits: []edit{{
			deferralDrain, `Settled: t.flight.add(seq, size)}`, `Settled: func() {}}
	t.flight.add(seq, size)()`,
		}}},
		pkg: "./relay/e2e", test: "TestARefusedRowIsParkedBeforeItIsDone",
	},
	{
		mutant: mutant{name: "sends again what the last pass has sent", edits: []edit{{
			deferralGate, `g.send(k.destination, []*delivery.Event{k.event})`,
			`g.delivery.Send(k.destination, k.event)`,
		}}},
		pkg: "./relay/internal/deferral", test: "TestKeptRowsAreSentUnlessTheSnapshotShowsThem",
	},
}
