package outboxtable_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

const (
	page       = "../../docs/table.md"
	tableBegin = "| guarantee | needs | without it |\n|---|---|---|\n"
)

// TestPageListsEveryGuarantee: an operator decides by the page whether a table is enough.
func TestPageListsEveryGuarantee(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	for _, g := range outboxtable.Guarantees {
		needs := "the sequence and the transaction id"
		if g.Name == "order" {
			needs = "the aggregate id, or `RELAY_ORDER_KEY`"
		}
		fmt.Fprintf(&rows, "| %s: %s | %s | %s |\n", g.Name, g.Promise, needs, g.Without)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), tableBegin+rows.String()+"\n") {
		t.Errorf("%s has no table of these rows:\n%s", page, tableBegin+rows.String())
	}
}
