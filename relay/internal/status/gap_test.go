package status

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// TestGoneSlotIsAGapOnceACheckpointNeedsIt: a first start, a marked recovery, and a slot that no
// relay has used need no slot yet.
func TestGoneSlotIsAGapOnceACheckpointNeedsIt(t *testing.T) {
	t.Parallel()
	used := checkpoint.Row{
		Table: "public.outbox_events", SystemIdentifier: "1", Position: checkpoint.Position{FlushLSN: 16},
		Horizon: "3:3:",
	}
	first, recovers := used, used
	first.Position, first.Recovery = checkpoint.Position{}, &checkpoint.Recovery{From: "3:3:"}
	recovers.Recovery = &checkpoint.Recovery{From: "3:3:", To: "3:3:"}
	for name, c := range map[string]struct {
		row     *checkpoint.Row
		missing []string
		next    string // empty: no gap
	}{
		"never used":          {nil, nil, ""},
		"first start":         {&first, nil, ""},
		"in use":              {&used, nil, "start a relay"},
		"while it recovers":   {&recovers, nil, "start a relay"},
		"table has no repair": {&used, []string{"audit", "repair"}, "recover --accept-loss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := outboxtest.NewPool(t)
			if c.row != nil {
				if err := checkpoint.NewStore(pool, "gone").Create(t.Context(), *c.row); err != nil {
					t.Fatal(err)
				}
			}
			r := testStatus().Relays[0].Report
			r.MissingGuarantees = c.missing
			s := collectReported(t, pool, r)
			problem := s.problem("slot_lost")
			if c.next == "" {
				if problem != nil {
					t.Errorf("a slot that nothing needs is a problem: %+v", problem)
				}
				return
			}
			if problem == nil || problem.Level != Critical || !strings.Contains(problem.Problem, "the slot is gone") ||
				!strings.Contains(problem.Next, c.next) {
				t.Fatalf("the problems are %+v", s.Problems)
			}
			checkOneStory(t, s)
		})
	}
}

func collectReported(t *testing.T, pool *pgxpool.Pool, r Report) *Status {
	t.Helper()
	if err := save(t.Context(), pool, "gone", r); err != nil {
		t.Fatal(err)
	}
	s, err := Collect(t.Context(), pool, "gone")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Status) problem(code string) *Problem {
	for _, p := range s.Problems {
		if p.Code == code {
			return &p
		}
	}
	return nil
}

// checkOneStory checks that the screen does not ask for patience, and does not say that the relay
// streams from the slot that is gone.
func checkOneStory(t *testing.T, s *Status) {
	t.Helper()
	var screen strings.Builder
	if err := s.Write(&screen); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"look again", "streaming for"} {
		if strings.Contains(screen.String(), wrong) {
			t.Errorf("the screen says %q\n%s", wrong, &screen)
		}
	}
}
