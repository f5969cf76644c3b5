package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// A limit or a lost connection ends the session in the middle of a check.
func TestTablesThatPassedAreNotCheckedAgain(t *testing.T) {
	t.Parallel()
	several := outboxtable.Table{Several: &outboxtable.Several{
		Patterns: []outboxtable.Pattern{{Schema: []string{"tenant_", ""}, Name: "outbox"}},
	}}
	var all []outboxtable.Table
	for n := range 2*checkedAtOnce + 50 {
		all = append(all, several.One(fmt.Sprintf("tenant_%d", n), "outbox", -1))
	}
	interrupted := errors.New("connection reset by peer")
	checks, checked := 0, map[string]int{}
	r := &relay{hasTables: true, Config: Config{
		Table: several, Log: slog.New(slog.DiscardHandler), Health: health.New(metrics.New()),
		CheckTables: func(_ context.Context, _ *pgxpool.Pool, came outboxtable.Table) error {
			if checks++; checks == 3 {
				return interrupted
			}
			for _, one := range came.Each() {
				checked[one.String()]++
			}
			return nil
		},
	}}
	now := several.WithTables(all)
	if err := r.checkNew(t.Context(), now); !errors.Is(err, interrupted) {
		t.Fatalf("%v, want the error of the third check", err)
	}
	if err := r.checkNew(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if n := checked[one.String()]; n != 1 {
			t.Errorf("table %s was checked %d times", one, n)
		}
	}
}
