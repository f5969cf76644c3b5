package chaos_test

// severalMutants break the rules by which the tables of one slot are independent.
var severalMutants = []testedMutant{
	{
		mutant: mutant{name: "accounts for a table however it came to the publication", edits: []edit{{
			"relay/internal/outboxtable/members.go", `if publication == "" {`, `if publication != "x" {`,
		}}},
		pkg: "./relay/e2e", test: "TestATableThatComesBackLosesNothing",
	},
}
