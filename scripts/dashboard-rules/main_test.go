package main

import (
	"os"
	"strings"
	"testing"
)

func TestEveryExpressionBecomesARule(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../infra/prometheus/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	found, err := rules(text)
	if err != nil {
		t.Fatal(err)
	}
	all := found["groups"][0].Rules
	if want := strings.Count(string(text), `"expr":`); len(all) != want {
		t.Errorf("%d rules, want %d", len(all), want)
	}
	for _, r := range all {
		if strings.Contains(r.Expr, "$") {
			t.Errorf("%s: promtool does not know the variable in %s", r.Record, r.Expr)
		}
	}
	if _, err := rules([]byte(`{}`)); err == nil {
		t.Error("a dashboard without panels has rules")
	}
}
