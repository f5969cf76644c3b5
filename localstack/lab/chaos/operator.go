package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// operations are what a person does with the relay's own commands.
var operations = []fault{
	{name: "operator: redrive", weight: 4, needs: hasDeadLetters, do: redriveSome},
	{name: "operator: mend, redrive", weight: 4, needs: hasDeadLetters, do: mendAndRedrive},
	{name: "operator: discard", weight: 2, needs: hasDeadLetters, do: discardSome},
	{name: "operator: replay", weight: 8, do: replaySome},
	{name: "operator: stop or resume replay", weight: 4, do: stopOrResume},
	{name: recoveredByHand, weight: 4, repeats: true, do: recoverByHand},
}

// hasDeadLetters reports whether something is parked without a crash point that asks for it.
func hasDeadLetters(p *Plan) bool { return p.Load.Poison || p.ParkAfter > 0 }

// operatorTimeout is beyond what a command needs that is not in anybody's way.
const operatorTimeout = 20 * time.Second

// command runs a command of the relay as a person would: as the owner of the tables, and not over the relays' networks.
func (r *run) command(ctx context.Context, args ...string) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.options.Relay, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + r.cluster.url(r.database, writerRole), "RELAY_SLOT=" + r.slot}
	said, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("relay %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return string(said), err
}

// nothingSelected is what a command says that has nothing to do.
const nothingSelected = "no event in that state is selected"

// redrive has dead letters sent once more, and reports whether there were any.
func (r *run) redrive(ctx context.Context, selection ...string) (bool, error) {
	said, err := r.command(ctx, append([]string{"dead-letters", "redrive"}, selection...)...)
	if strings.Contains(said, nothingSelected) {
		return false, nil
	}
	return err == nil, err
}

// discard gives dead letters up, and reports whether there were any.
func (r *run) discard(ctx context.Context, selection ...string) (bool, error) {
	said, err := r.command(ctx, append([]string{"dead-letters", "discard"}, selection...)...)
	if strings.Contains(said, nothingSelected) {
		return false, nil
	}
	n := 0
	if err == nil {
		_, err = fmt.Sscanf(said, "gave up %d", &n)
	}
	r.recorder.operated(func(o *checker.Operator) {
		o.Discarded += n
		o.DiscardedUnknown = o.DiscardedUnknown || err != nil
	})
	return err == nil, err
}

// mendDestinations has them take from now on what can be mended.
func (r *run) mendDestinations() {
	r.recorder.operated(func(o *checker.Operator) {
		if o.MendedAt == 0 {
			o.MendedAt = r.clock()
		}
	})
	r.refusal.Clear()
}

func redriveSome(ctx context.Context, a *act) error {
	selection, err := a.selectSome(ctx)
	if err != nil || selection == nil {
		a.note = missed
		return err
	}
	return a.noteIfNone(a.redrive(ctx, selection...))
}

func mendAndRedrive(ctx context.Context, a *act) error {
	a.mendDestinations()
	return redriveSome(ctx, a)
}

func discardSome(ctx context.Context, a *act) error {
	selection, err := a.selectSome(ctx)
	if err != nil || selection == nil {
		a.note = missed
		return err
	}
	return a.noteIfNone(a.discard(ctx, selection...))
}

func (a *act) noteIfNone(some bool, err error) error {
	if !some {
		a.note = missed
	}
	return err
}

// selectSome picks dead letters as the commands take them: all, or those that one of them has something in common with. It never
// picks a dead letter by itself from among those of its aggregate: they would not keep their order. It returns nil if
// nothing is parked.
func (a *act) selectSome(ctx context.Context) ([]string, error) {
	var group, destination, code string
	err := a.admin.QueryRow(ctx, `
		SELECT message_group, destination, code FROM outbox_dead_letters WHERE state = 'parked'
		ORDER BY position OFFSET floor($1::float8 * (SELECT count(*) FROM outbox_dead_letters WHERE state = 'parked')) LIMIT 1`,
		a.random.Float64()).Scan(&group, &destination, &code)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for dead letters: %w", err)
	}
	switch a.random.IntN(4) {
	case 0:
		return []string{"--all"}, nil
	case 1:
		return []string{"--destination", destination}, nil
	case 2:
		if code != codeBlocked {
			return []string{"--code", code}, nil
		}
	}
	return []string{"--group", group}, nil
}

// codeBlocked is the code of events that are parked behind others.
const codeBlocked = "BlockedGroup"

// Aftermath says what the operator does about dead letters once nothing is in the way any more.
type Aftermath string

// What there is to do.
const (
	LeaveParked Aftermath = "leave"   // nothing
	RedriveAll  Aftermath = "redrive" // mend, and redrive all
	DiscardRest Aftermath = "discard" // and then give up what cannot be taken
)

// clearUp does what the plan says about dead letters, and waits until that is done.
func (r *run) clearUp(ctx context.Context) error {
	if r.plan.Aftermath == LeaveParked {
		return nil
	}
	r.mendDestinations()
	if some, err := r.redrive(ctx, "--all"); err != nil {
		return err
	} else if some {
		r.awaitRedriven(ctx)
	}
	r.recorder.operated(func(o *checker.Operator) { o.RedroveAll = true })
	if r.plan.Aftermath == RedriveAll {
		return nil
	}
	positions, err := r.unsendable(ctx)
	if err != nil || len(positions) == 0 {
		return err
	}
	if _, err := r.discard(ctx, positions...); err != nil {
		return err
	}
	r.awaitRedriven(ctx)
	return nil
}

// awaitRedriven waits until no dead letter is on its way any more.
func (r *run) awaitRedriven(ctx context.Context) {
	var redriving int
	done := await(ctx, r.options.Settle, func() bool {
		err := r.admin.QueryRow(ctx, `SELECT count(*) FROM outbox_dead_letters WHERE state = 'redriving'`).Scan(&redriving)
		return err == nil && redriving == 0
	})
	if !done && ctx.Err() == nil {
		r.recorder.problem("%d dead letters were not redriven after %v", redriving, r.options.Settle)
	}
}

// unsendable returns the positions of parked events that no destination will ever take.
func (r *run) unsendable(ctx context.Context) ([]string, error) {
	rows, err := r.admin.Query(ctx, `SELECT position::text FROM outbox_dead_letters WHERE state = 'parked' AND event_id = ANY ($1)`,
		r.recorder.unsendable())
	if err != nil {
		return nil, fmt.Errorf("look for dead letters: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
