package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
)

var update = flag.Bool("update", false, "write the table of metrics")

const (
	metricsPage = "../../docs/metrics.md"
	tableBegin  = "| metric | labels | meaning |\n|---|---|---|\n"
	tableEnd    = "<!-- end of metrics -->"
)

// description finds name, help and labels in the text of a Desc, which has no other way to tell
// them.
var description = regexp.MustCompile(`fqName: "(relay_[a-z_]+)", help: "([^"]*)",.* constLabels: {.*}, ` +
	`variableLabels: {([a-z_,]*)}`)

// metricsTable returns the rows of the page, generated from the registered metrics.
func metricsTable(t *testing.T) string {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	m := metrics.New()
	m.Tables(2) // those of a relay with several tables too
	go func() {
		m.Registry().(*prometheus.Registry).Describe(descriptions)
		close(descriptions)
	}()
	var rows []string
	for d := range descriptions {
		if found := description.FindStringSubmatch(d.String()); found != nil {
			labels := regexp.MustCompile(`[a-z]+`).ReplaceAllString(strings.ReplaceAll(found[3], ",", ", "), "`$0`")
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", found[1], labels, found[2]))
		}
	}
	if len(rows) < 20 {
		t.Fatalf("%d metrics, want more", len(rows))
	}
	slices.Sort(rows)
	return strings.Join(rows, "")
}

func TestPageListsEveryMetric(t *testing.T) {
	text, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), tableBegin)
	table, tail, ended := strings.Cut(after, tableEnd)
	if !found || !ended {
		t.Fatal("the page has no table of metrics")
	}
	want := metricsTable(t)
	if *update {
		//nolint:gosec // it is a document
		if err := os.WriteFile(metricsPage, []byte(before+tableBegin+want+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("the page's table differs from the metrics; go test ./relay/internal/metrics -update writes it:\n%s",
			want)
	}
}
