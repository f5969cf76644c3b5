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

// operations are the actions of an operator with the relay's own commands.
var operations = []fault{
	{name: "operator: redrive", weight: 4, needs: hasDeadLetters, do: redriveSome},
	{name: "operator: repair, redrive", weight: 4, needs: hasDeadLetters, do: repairAndRedrive},
	{name: "operator: discard", weight: 2, needs: hasDeadLetters, do: discardSome},
	{name: "operator: replay", weight: 8, needs: replaysRows, do: replaySome},
	{name: "operator: stop or resume replay", weight: 4, needs: replaysRows, do: stopOrResume},
	{name: manualRecovery, weight: 4, repeats: true, needs: repairsRows, do: recoverManually},
	{name: "operator: pause", weight: 6, repeats: true, needs: keepsWaiting, do: pauseDestination},
}

// hasDeadLetters reports whether the plan parks events even without a crash point.
func hasDeadLetters(p *Plan) bool { return p.Load.Poison || p.ParkAfter > 0 }

// operatorTimeout exceeds the duration of any undisturbed command.
const operatorTimeout = 20 * time.Second

// command runs a command of the relay as an operator would: as the owner of the tables, and with an
// undisturbed connection.
func (r *run) command(ctx context.Context, args ...string) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.options.Relay, args...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + r.cluster.url(r.database, writerRole),
		"RELAY_SLOT=" + r.slot,
	}, r.shape.ofOperator()...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("relay %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return string(said), err
}

// nothingSelected is the message of a command that selected no dead letter.
const nothingSelected = "no event in that state is selected"

// redrive redrives dead letters, and reports whether there were any. It does not wait for their
// outcome, because some of them are refused again.
func (r *run) redrive(ctx context.Context, selection ...string) (bool, error) {
	said, err := r.command(ctx, append([]string{"dead-letters", "redrive", "--no-wait"}, selection...)...)
	if strings.Contains(said, nothingSelected) {
		return false, nil
	}
	return err == nil, err
}

// discard discards dead letters, and reports whether there were any.
func (r *run) discard(ctx context.Context, selection ...string) (bool, error) {
	said, err := r.command(ctx, append([]string{"dead-letters", "discard"}, selection...)...)
	if strings.Contains(said, nothingSelected) {
		return false, nil
	}
	n := 0
	if err == nil { // other lines are about a database that lets the command wait
		_, err = fmt.Sscanf(said[max(0, strings.Index(said, "discarded")):], "discarded %d", &n)
	}
	r.recorder.operated(func(o *checker.Operator) {
		o.Discarded += n
		o.DiscardedUnknown = o.DiscardedUnknown || err != nil
	})
	return err == nil, err
}

// repairDestinations makes all destinations accept the events that are only refused temporarily.
func (r *run) repairDestinations() {
	r.recorder.operated(func(o *checker.Operator) {
		if o.RepairedAt == 0 {
			o.RepairedAt = r.clock()
		}
	})
	r.refusal.Clear()
}

// pauseDestination pauses a destination for some seconds.
func pauseDestination(ctx context.Context, a *act) error {
	d := a.destinations[a.random.IntN(len(a.destinations))]
	if _, err := a.command(ctx, "pause", d.arn, "--no-wait"); err != nil {
		return err
	}
	pause(ctx, a.within(3*time.Second))
	_, err := a.command(context.WithoutCancel(ctx), "resume", d.arn, "--no-wait")
	return err
}

func redriveSome(ctx context.Context, a *act) error {
	selection, err := a.selectSome(ctx)
	if err != nil || selection == nil {
		a.note = missed
		return err
	}
	return a.noteIfNone(a.redrive(ctx, selection...))
}

func repairAndRedrive(ctx context.Context, a *act) error {
	a.repairDestinations()
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

// selectSome returns a random selection for the commands: all dead letters, or those with the
// destination, code or group of a random one. It never selects a single dead letter of an
// aggregate, which would break the order. It returns nil if no event is parked.
func (a *act) selectSome(ctx context.Context) ([]string, error) {
	var group, destination, code string
	err := a.admin.QueryRow(ctx, `
		SELECT message_group, destination, code FROM outbox_dead_letters WHERE state = 'parked'
		ORDER BY position OFFSET floor($1::float8 * (SELECT count(*) FROM outbox_dead_letters
		WHERE state = 'parked')) LIMIT 1`,
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

// codeBlocked is the code of events that are parked behind another one.
const codeBlocked = "BlockedGroup"

// Aftermath is the operator's treatment of dead letters after the last fault.
type Aftermath string

// The treatments.
const (
	LeaveParked Aftermath = "leave"   // no action
	RedriveAll  Aftermath = "redrive" // repair the destinations and redrive all
	DiscardRest Aftermath = "discard" // then discard the events that no destination accepts
)

// treatDeadLetters treats the dead letters as the plan says, and waits until that is done.
func (r *run) treatDeadLetters(ctx context.Context) error {
	if r.plan.Aftermath == LeaveParked {
		return nil
	}
	r.repairDestinations()
	if some, err := r.redrive(ctx, "--all"); err != nil {
		return err
	} else if some {
		r.awaitRedriven(ctx)
	}
	r.recorder.operated(func(o *checker.Operator) { o.RedroveAll = true })
	if r.plan.Aftermath == RedriveAll {
		return nil
	}
	return r.discardRest(ctx)
}

// discardRest discards the dead letters of events that no destination accepts. An event that waited
// behind one may be such an event too.
func (r *run) discardRest(ctx context.Context) error {
	for {
		positions, err := r.unsendable(ctx)
		if err != nil || len(positions) == 0 {
			return err
		}
		if _, err := r.discard(ctx, positions...); err != nil {
			return err
		}
		r.awaitRedriven(ctx)
		if !r.awaitArrived(ctx) {
			return nil
		}
	}
}

// awaitRedriven waits until no dead letter is being redriven.
func (r *run) awaitRedriven(ctx context.Context) {
	redriving := awaitNone(ctx, r.options.Settle, func() (n int, err error) {
		err = r.admin.QueryRow(ctx, `SELECT count(*) FROM outbox_dead_letters
			WHERE state = 'redriving'`).Scan(&n)
		return n, err
	})
	if redriving != 0 && ctx.Err() == nil {
		r.recorder.problem("%d dead letters were not redriven, and none was for %v", redriving, r.options.Settle)
	}
}

// unsendable returns the positions of parked events that no destination will ever accept.
func (r *run) unsendable(ctx context.Context) ([]string, error) {
	rows, err := r.admin.Query(ctx, `SELECT position::text FROM outbox_dead_letters
		WHERE state = 'parked' AND event_id = ANY ($1)`,
		r.recorder.unsendable())
	if err != nil {
		return nil, fmt.Errorf("look for dead letters: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
