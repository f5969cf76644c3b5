package chaos_test

const (
	deferralGate  = "relay/internal/deferral/joining.go"
	deferralDrain = "relay/internal/deferral/drain.go"
	deferralBegin = "relay/internal/deferral/begin.go"
	deferralPass  = "relay/internal/deferral/pass.go"
	deferralRules = "relay/internal/deferral/predicate.go"

	deferralTransfer = "relay/internal/deferral/transfer.go"
	deferralHeld     = "relay/internal/deferral/gate.go"
	deferralTurns    = "relay/internal/deferral/turns.go"
	deferralBehind   = "relay/internal/deferral/behindgate.go"
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
			deferralBegin, `known := w.Gate.Past() //`, `now, _ := w.Store.Observe(ctx)
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
			`+ row + outboxtable.Quote(table.Columns.Sequence) + " >= waits.from_seq" +`,
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
			{deferralBegin, `	if err := w.Store.Begin(ctx, stored); err != nil {
		return err
	}
`, ``},
			{deferralBegin, `	begin(h)
`, `	begin(h)
	if err := w.Store.Begin(ctx, stored); err != nil {
		return err
	}
`},
		}},
		pkg: "./relay/e2e", test: "TestADeferralIsKilledAtEachStep",
	},
	{
		mutant: mutant{name: "counts a row as done before its dead letter is stored", edits: []edit{{
			deferralTransfer, `t.flight.add(seq, size, event)`, `t.flight.add(seq, size, event)
	event.Settled()
	event.Settled = func() {}`,
		}}},
		pkg: "./relay/e2e", test: "TestARefusedRowIsParkedBeforeItIsDone",
	},
	{
		mutant: mutant{name: "stores the cursor of a pass before the dead letter", edits: []edit{{
			"relay/internal/delivery/park.go", `	if e.err = s.delivery.deps.Parker.Park(`,
			`	if e.Settled != nil {
		e.Settled()
		e.Settled = func() {}
	}
	if e.err = s.delivery.deps.Parker.Park(`,
		}}},
		pkg: "./relay/e2e", test: "TestADeadLetterIsKilledAtEachStep",
	},
	{
		mutant: mutant{name: "delivers an aggregate whose event is a dead letter", edits: []edit{
			{deferralTurns, `case w.pauses.has(name), w.Gate.isBehind(h):`, `case w.pauses.has(name):`},
			{deferralDrain, `h.stored.Destination) || w.Gate.isBehind(h)`, `h.stored.Destination)`},
			{"relay/internal/delivery/redrive.go", `	if blocked {`, `	if blocked && e == nil {`},
		}},
		pkg: "./relay/e2e", test: "TestOneDeadLetterHoldsAThousandFollowers",
	},
	{
		mutant: mutant{name: "sends again what the last pass has sent", edits: []edit{{
			deferralGate, `g.send(k.destination, []*delivery.Event{k.event})`,
			`g.delivery.Send(k.destination, k.event)`,
		}}},
		pkg: "./relay/internal/deferral", test: "TestKeptRowsAreSentUnlessTheSnapshotShowsThem",
	},
	{
		mutant: mutant{name: "sends rows of a deferred aggregate in the pass of its destination", edits: []edit{
			{deferralTransfer, `return owner == t.held`, `return t.destinationOf(e) == t.held.stored.Destination`},
			{deferralBehind, `if g.ownerOf(e, now) != h {`, `if g.ownerOf(e, now) == nil {`},
		}},
		pkg: "./relay/e2e", test: "TestAnAggregateAndItsDestinationAreDeferred",
	},
	{
		mutant: mutant{name: "joins the stream with an aggregate before its destination", edits: []edit{{
			deferralGate, `all.mode == joined && all.isShownBy(known)`, `all.isShownBy(known)`,
		}}},
		pkg: "./relay/internal/deferral", test: "TestARowOfADeferredGroupIsTheGroups",
	},
	{
		mutant: mutant{name: "joins the stream with an older snapshot than the destination", edits: []edit{{
			deferralGate, `all.mode == joined && all.isShownBy(known)`, `all.mode == joined`,
		}}},
		pkg: "./relay/internal/deferral", test: "TestAGroupJoinsNoEarlierThanItsDestination",
	},
	{
		mutant: mutant{name: "keeps the rows of an aggregate by those of its destination alone", edits: []edit{{
			deferralRules, `waits.aggregate_id = '') OR `, `waits.aggregate_id = '') OR false AND `,
		}}},
		pkg: "./relay/e2e", test: "TestRetentionKeepsTheRowsOfABusyAggregate",
	},
	{
		mutant: mutant{name: "lets rows of a deferred aggregate through", edits: []edit{{
			deferralHeld, `g.claim(e), g.held[key{name, group}], g`, `g.claim(e), g.held[key{name, group + " "}], g`,
		}}},
		pkg: "./relay/internal/deferral", test: "TestOnlyRowsOfTheDeferredGroupAreHandedOver",
	},
	{
		mutant: mutant{name: "defers by the snapshot alone", edits: []edit{
			{deferralRules, ` AND {seq} < {deferral}from_seq) IS NOT TRUE)`, `) IS NOT TRUE)`},
			{deferralRules, `return m.known.Visible(xid) && seq < m.fromSeq`, `return m.known.Visible(xid)`},
		}},
		pkg: "./relay/internal/deferral", test: "TestRowsOfADeferredDestinationAreHandedOver",
	},
	{
		mutant: mutant{name: "sends rows that the stream has not read", edits: []edit{{
			deferralPass, `isNow, err = w.awaitPassed(ctx, to, patience)`, `isNow, err = to.LSN != 0, nil`,
		}}},
		pkg: "./relay/e2e", test: "TestAFullWindowHoldsUpNoPass",
	},
	{
		mutant: mutant{name: "replays what waits", edits: []edit{{
			"relay/internal/replay/store.go", `!isClosed && r.Deferrals.Wait(&e)`, `!isClosed && false`,
		}}},
		pkg: "./relay/e2e", test: "TestAReplayExcludesWhatWaits",
	},
	{
		mutant: mutant{name: "sends to a paused destination", edits: []edit{{
			"relay/internal/delivery/sender.go", `s.held != nil || s.Paused {`, `s.held != nil {`,
		}}},
		pkg: "./relay/internal/delivery", test: "TestAPausedDestinationIsNeitherSentNorParked",
	},
	{
		mutant: mutant{name: "takes up a pause after it has sent", edits: []edit{{
			"relay/internal/relay/session.go", `d.Paused = slices.ContainsFunc(`, `_ = slices.ContainsFunc(`,
		}}},
		pkg: "./relay/e2e", test: "TestAPauseIsKilledAtEachStep",
	},
}
