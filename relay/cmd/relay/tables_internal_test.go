package main

import (
	"strings"
	"testing"
)

func TestTablesAreReadAsInSQL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"outbox":                             "public.outbox",
		`public.outbox, billing.outbox`:      "billing.outbox,public.outbox", // sorted
		`"Shop,1"."Out.box",a.b`:             `"Shop,1"."Out.box",a.b`,
		"tenant_*.outbox":                    "tenant_*.outbox",
		`*."Outbox"`:                         `*."Outbox"`,
		`"Tenant "*_eu.outbox,public.outbox`: `"Tenant "*_eu.outbox,public.outbox`,
		`t*2.outbox`:                         `t*2.outbox`,
	} {
		r := &tableReader{}
		r.tables(text, "pub")
		if got := r.table.String(); got != want || r.problems != nil {
			t.Errorf("%s is %s: %v", text, got, r.problems)
		}
		if several := r.table.IsSeveral(); several != strings.ContainsAny(want, ",*") {
			t.Errorf("%s: several %v", text, several)
		}
	}
}

func TestInvalidTablesAreRefused(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"a.b,":            "lower-case",
		"a.b,a.b":         "twice",
		"a.out*":          "schema alone",
		"*":               "schema alone",
		"Tenant_*.outbox": "lower-case",
		strings.Repeat("aaaaaaa.b,", 200) + "a.b": "bytes",
	} {
		r := &tableReader{}
		r.tables(text, "pub")
		found := false
		for _, problem := range r.problems {
			found = found || strings.Contains(problem.Error(), says)
		}
		if !found {
			t.Errorf("%.40s: no problem says %q: %v", text, says, r.problems)
		}
	}
}

func TestPatternsMatchWholeSchemas(t *testing.T) {
	t.Parallel()
	r := &tableReader{}
	r.tables(`tenant_*.outbox,*_a*b.outbox,billing.outbox`, "pub")
	for schema, matches := range map[string]bool{
		"tenant_": true, "tenant_1": true, "tenant": false, "my_tenant_1": false, "billing": true, "billing2": false,
		"x_ab": true, "x_a_b": true, "x_aab_": false, "_ab": true,
	} {
		if r.table.Has(schema, "outbox") != matches {
			t.Errorf("schema %s: matches %v", schema, !matches)
		}
		if r.table.Has(schema, "outbox2") {
			t.Errorf("schema %s: another table matches", schema)
		}
	}
}
