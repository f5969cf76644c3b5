package deadletter

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// followedAtOnce is how many dead letters one look at an Outcome reads. The relay sends them in the
// order of their positions, so the first ones tell of progress.
const followedAtOnce = 10_000

// Outcome says how many of the dead letters that an operator redrives were delivered, and why the
// others were not.
type Outcome struct {
	Total     int64
	Delivered int64
	Refused   []Refusal // again, by their destination
	Parked    int64     // without being sent: behind a refused one, or the redrive was canceled
	Discarded int64     // meanwhile

	pool *pgxpool.Pool
	slot string
	open []marked // without an outcome, in order
}

// marked is a dead letter when its redrive began.
type marked struct {
	Position int64
	Attempts int64
}

// Refusal is a dead letter whose redrive its destination refused.
type Refusal struct {
	Position              int64
	EventID, Code, Reason string
}

func newOutcome(pool *pgxpool.Pool, slotName string, open []marked) *Outcome {
	slices.SortFunc(open, func(a, b marked) int { return cmp.Compare(a.Position, b.Position) })
	return &Outcome{Total: int64(len(open)), pool: pool, slot: slotName, open: open}
}

// Left returns how many dead letters have no outcome yet.
func (o *Outcome) Left() int64 { return int64(len(o.open)) }

// Look reads the states of the first dead letters without an outcome.
func (o *Outcome) Look(ctx context.Context) error {
	looked := o.open[:min(len(o.open), followedAtOnce)]
	now, err := o.read(ctx, looked)
	if err != nil {
		return err
	}
	var still []marked
	for _, before := range looked {
		if letter, exists := now[before.Position]; exists && letter.State == "redriving" {
			still = append(still, before)
		} else {
			o.settle(before, letter)
		}
	}
	o.open = slices.Concat(still, o.open[len(looked):])
	return nil
}

func (o *Outcome) read(ctx context.Context, looked []marked) (map[int64]Record, error) {
	positions := make([]int64, len(looked))
	for i, letter := range looked {
		positions[i] = letter.Position
	}
	rows, err := o.pool.Query(ctx, `
		SELECT `+recordColumns+` FROM outbox_dead_letters d WHERE d.position = ANY ($2)`, o.slot, positions)
	if err != nil {
		return nil, fmt.Errorf("look at the redrive: %w", err)
	}
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Record])
	if err != nil {
		return nil, fmt.Errorf("look at the redrive: %w", err)
	}
	now := make(map[int64]Record, len(letters))
	for _, letter := range letters {
		now[letter.Position] = letter
	}
	return now, nil
}

// settle counts a dead letter that is not redriven any more. Retention removes a row only after the
// event was delivered or discarded.
func (o *Outcome) settle(before marked, now Record) {
	switch {
	case now.State == "parked" && before.isRefusedAgain(now):
		o.Refused = append(o.Refused, Refusal{now.Position, now.EventID, now.Code, now.Reason})
	case now.State == "parked":
		o.Parked++
	case now.State == "discarded":
		o.Discarded++
	default:
		o.Delivered++
	}
}
