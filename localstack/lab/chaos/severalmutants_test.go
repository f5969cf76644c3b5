package chaos_test

import "github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"

// tableMutants break rules that a single outbox table of the relay's own shape does not show, and
// that of the bucket for large events.
var tableMutants = []mutant{
	{
		name: "takes the aggregates of all tables for the same ones",
		edits: []edit{{
			"relay/internal/route/identity.go", `		dst = append(appendEscaped(dst, e.Source.Table, "/"), '/')
	}
	switch {
	case !hasOrder`, `		dst = append(dst, '/')
	}
	switch {
	case !hasOrder`,
		}},
		faults: []string{"crash: park"},
		shapes: []string{"several tables"},
		// a dead letter blocks the events of other aggregates
		rules: []checker.Rule{checker.Parked, checker.Lost},
	},
	{
		name: "ignores the last column of the order key",
		edits: []edit{{
			"relay/internal/route/identity.go", `	for n, i := range key {
		if n > 0 {
			dst = append(dst, ',')`, `	for n, i := range key[:1] {
		if n > 0 {
			dst = append(dst, ',')`,
		}},
		faults: []string{"crash: park"},
		shapes: []string{"ordered by two columns"},
		// a dead letter blocks the events of other aggregates
		rules: []checker.Rule{checker.Parked, checker.Lost},
	},
	{
		name: "sends a pointer to an object that the bucket refused",
		edits: []edit{{
			"relay/internal/claimcheck/claimcheck.go",
			`	if err := s.put(ctx, key, m.Body); err != nil {`,
			`	if err := s.put(ctx, key, m.Body); err != nil && ctx.Err() != nil {`,
		}},
		faults: []string{"broker: bucket refused"},
		rules:  []checker.Rule{checker.Changed},
	},
}

// accountsAtOnce accounts for a new table in the session that has found it.
var accountsAtOnce = edit{
	"relay/internal/members/newtables.go", `member.newUntil != streamedSafely`, `member.newUntil == 0`,
}

// severalMutants break the rules by which the tables of one slot are independent.
var severalMutants = []testedMutant{
	{
		mutant: mutant{name: "accounts for a table however it came to the publication", edits: []edit{{
			"relay/internal/outboxtable/members.go", `if publication == "" {`, `if publication != "x" {`,
		}}},
		pkg: "./relay/e2e", test: "TestATableThatComesBackLosesNothing",
	},
	{
		// Chaos runs catch it rarely: while other rows of the table arrive, the server streams also
		// those of a transaction that was open.
		mutant: mutant{name: "does not wait for the transactions that were open when a table came", edits: []edit{
			{
				"relay/internal/members/newtables.go", `snapshot.IsPast(table.newUntil)`,
				`(snapshot.IsPast(0) || table.newUntil > 0)`,
			},
			accountsAtOnce,
			withoutAudit,
		}},
		pkg: "./relay/e2e", test: "TestANewTableAwaitsTheTransactionsOfItsTime",
	},
	{
		mutant: mutant{name: "accounts for a new table that the server may not stream", edits: []edit{accountsAtOnce}},
		pkg:    "./relay/e2e", test: "TestATableAddedDuringTheFirstStartArrives",
	},
	{
		mutant: mutant{name: "counts a row as waiting that a pass has overtaken", edits: []edit{{
			"relay/internal/deferral/joined.go", `h.passing.Visible(xid))`, `!h.passing.Visible(xid))`,
		}}},
		pkg: "./relay/internal/deferral", test: "TestRowsOfANewMemberWaitIfAPassFindsThem",
	},
	{
		mutant: mutant{name: "parks rows of a new table behind dead letters of later rows", edits: []edit{{
			"relay/internal/delivery/redrive.go", `if e.Behind = behind; !behind {`,
			`if e.Behind = true; !behind && seq < 0 {`,
		}}},
		pkg: "./relay/internal/delivery", test: "TestOnlyADeadLetterOfALaterRowIsPassed",
	},
}
