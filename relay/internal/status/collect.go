package status

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/pause"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// formatVersion is the version of the JSON form of [Status]. It changes when a field is removed or
// changes its meaning, and not when a field is added.
const formatVersion = 1

// heardWithin is the greatest age of the last report of a running relay: three reports of an idle
// relay.
const heardWithin = 30 * time.Second

// Status is the state of a slot and of its relays, with the problems that follow.
type Status struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	Level    Level     `json:"level"` // the highest level of the problems
	Problems []Problem `json:"problems"`

	Slot        Slot         `json:"slot"`
	Table       string       `json:"table,omitempty"`  // schema.name of the outbox table, or the names of several
	Tables      []string     `json:"tables,omitempty"` // of several, those that exist
	Relays      []Relay      `json:"relays"`           // the latest report first
	Checkpoint  *Checkpoint  `json:"checkpoint,omitempty"`
	Recovery    *Recovery    `json:"recovery,omitempty"`
	LastGap     *Gap         `json:"last_gap,omitempty"`
	Partitions  []string     `json:"partitions,omitempty"` // attached with rows that are not published yet
	NewTables   []string     `json:"new_tables,omitempty"` // of several, whose rows wait for open transactions
	DeadLetters []DeadLetter `json:"dead_letters,omitempty"`
	Deferrals   []Deferral   `json:"deferrals,omitempty"` // events that wait in the outbox table
	Pauses      []Pause      `json:"pauses,omitempty"`    // destinations to which an operator has the relay send nothing
	Replay      *Replay      `json:"replay,omitempty"`

	state    slot.State // the slot, with its limits
	blockers []string   // transactions for which a slot that is being created waits, the oldest first
	others   []string   // the slots with a checkpoint, if no relay has used this slot
	gap      string     // why the slot cannot bring every event; empty if it can
}

type Relay struct {
	Report
	ReportedAt    time.Time `json:"reported_at"`    // by the clock of the database
	SilentSeconds float64   `json:"silent_seconds"` // since then
	// Superseded is true if another relay has reported later that it has the slot. This one was
	// killed, or has yet to notice.
	Superseded bool `json:"superseded,omitempty"`
}

// IsHeard reports whether the relay runs, as far as the database shows it.
func (r Relay) IsHeard() bool { return r.State != stopped && r.silent() < heardWithin }

// hasSlot reports whether the relay streams or recovers, as far as the database shows it.
func (r Relay) hasSlot() bool { return r.IsHeard() && !r.Superseded && r.claimsSlot() }

// claimsSlot reports whether the relay had the slot at its last report.
func (r Relay) claimsSlot() bool { return r.State == "streaming" || r.State == "recovering" }

// silent returns the time since the last report.
func (r Relay) silent() time.Duration { return time.Duration(r.SilentSeconds * float64(time.Second)) }

type Slot struct {
	Name             string `json:"name"`
	Exists           bool   `json:"exists"`
	Active           bool   `json:"active"`
	ActivePID        int64  `json:"active_pid,omitempty"`
	WALStatus        string `json:"wal_status,omitempty"`
	InvalidReason    string `json:"invalidation_reason,omitempty"`
	DeliveryLagBytes int64  `json:"delivery_lag_bytes"`   // log that is not confirmed
	RetainedBytes    int64  `json:"retained_bytes"`       // log that the slot retains on the database's disk
	SafeBytes        *int64 `json:"safe_bytes,omitempty"` // log that may be written before the slot is in danger; absent without a limit

	unknown bool // only the name is known
}

type Checkpoint struct {
	FlushLSN  string    `json:"flush_lsn"`
	WrittenAt time.Time `json:"written_at"`
	Epoch     int64     `json:"epoch"`
}

// Recovery is the recovery of the checkpoint row.
type Recovery struct {
	Running      bool  `json:"running"` // false: the next session begins with it
	PublishedSeq int64 `json:"published_seq,omitempty"`
}

// Gap is the last time at which the slot could not bring every event.
type Gap struct {
	FoundAt    time.Time  `json:"found_at"`
	Reason     string     `json:"reason"`
	RepairedAt *time.Time `json:"repaired_at,omitempty"` // when the last event was published from the table
}

// DeadLetter counts the open dead letters of one cause.
type DeadLetter struct {
	Destination string    `json:"destination"`
	Code        string    `json:"code"`
	Refused     bool      `json:"refused"` // false: the events wait behind a refused event of their group
	Events      int64     `json:"events"`
	OldestAt    time.Time `json:"oldest_at"`
}

// Pause is a destination to which an operator has the relay send nothing.
type Pause struct {
	Destination string    `json:"destination"`
	Since       time.Time `json:"since"`
	Reason      string    `json:"reason,omitempty"` // in the words of the operator
	InEffect    bool      `json:"in_effect"`        // the last request has ended, and the events wait in the table
	Events      int64     `json:"events"`           // about how many wait
}

// Deferral counts the events for a destination that wait in the outbox table for one reason.
type Deferral struct {
	Destination string    `json:"destination"`
	Aggregates  int       `json:"aggregates,omitempty"` // whose events wait; 0: all events of the destination do
	Largest     string    `json:"largest,omitempty"`    // the aggregate with the most of them: type and id
	Events      int64     `json:"events"`               // about how many wait
	Since       time.Time `json:"since"`
	Reason      string    `json:"reason"`
}

// isBehind reports whether the events wait behind dead letters of their aggregates.
func (d Deferral) isBehind() bool { return d.Reason == deferral.ReasonBehind }

type Replay struct {
	ID       int64  `json:"id"`
	State    string `json:"state"`
	Selected int64  `json:"selected"`
	Sent     int64  `json:"sent"`
	Refused  int64  `json:"refused"`
}

// Collect reads the status of a slot. It returns an error if the database does not answer or
// refuses.
func Collect(ctx context.Context, pool *pgxpool.Pool, slotName string) (*Status, error) {
	s := &Status{Version: formatVersion, Problems: []Problem{}, Relays: []Relay{}}
	for _, part := range []func(context.Context, *pgxpool.Pool, string) error{
		s.readClock, s.checkpoint, s.relays, s.partitions, s.deadLetters, s.deferrals, s.pauses, s.replay,
	} {
		if err := part(ctx, pool, slotName); err != nil {
			return nil, unanswered(ctx, pool, err)
		}
	}
	s.judge()
	return s, nil
}

// readClock reads the time of the database, to which all times of the status refer.
func (s *Status) readClock(ctx context.Context, pool *pgxpool.Pool, _ string) error {
	if err := pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&s.At); err != nil {
		return fmt.Errorf("read the time of the database: %w", err)
	}
	s.At = s.At.UTC()
	return nil
}

func (s *Status) slot(ctx context.Context, pool *pgxpool.Pool, name string) error {
	state, err := slot.LookUp(ctx, pool, name)
	if err != nil {
		return err
	}
	s.Slot = Slot{
		Name: name, Exists: state.Exists, Active: state.Active, ActivePID: state.ActivePID, WALStatus: state.WALStatus,
		InvalidReason: state.InvalidReason, DeliveryLagBytes: state.DeliveryLag, RetainedBytes: state.RetainedWAL,
	}
	if state.Exists && state.SafeWALSize >= 0 {
		s.Slot.SafeBytes = &state.SafeWALSize
	}
	s.state = state
	if state.IsBeingCreated() {
		s.blockers, err = slot.Blockers(ctx, pool)
	}
	return err
}

func (s *Status) relays(ctx context.Context, pool *pgxpool.Pool, name string) (err error) {
	s.Relays, err = load(ctx, pool, name)
	s.supersede()
	return err
}

// supersede marks each relay that claims the slot, as another one has claimed it since.
func (s *Status) supersede() {
	isClaimed := false
	for i := range s.Relays { // the latest report first
		r := &s.Relays[i]
		r.Superseded = isClaimed && r.claimsSlot()
		isClaimed = isClaimed || r.hasSlot()
	}
}

// checkpoint reads the checkpoint row, and then the slot. A relay creates the slot before the row
// needs it, so a row that needs a slot that is gone shows a gap.
func (s *Status) checkpoint(ctx context.Context, pool *pgxpool.Pool, name string) error {
	store := checkpoint.NewStore(pool, name)
	row, err := store.Load(ctx)
	if err != nil {
		return err
	}
	if err := s.slot(ctx, pool, name); err != nil {
		return err
	}
	if row == nil {
		return s.otherSlots(ctx, pool)
	}
	if err := s.findGap(ctx, store, row); err != nil {
		return err
	}
	s.Table = row.Table
	if s.Tables, err = members.Existing(ctx, pool, row.Tables); err != nil {
		return err
	}
	s.Checkpoint = &Checkpoint{FlushLSN: row.Position.FlushLSN.String(), WrittenAt: row.UpdatedAt, Epoch: row.Epoch}
	if row.Recovery != nil {
		s.Recovery = &Recovery{Running: !row.Recovery.IsMarked(), PublishedSeq: row.Position.RecoveredSeq}
	}
	gap, err := store.LastGap(ctx)
	if err == nil && gap != nil {
		s.LastGap = &Gap{FoundAt: gap.FoundAt, Reason: gap.Reason, RepairedAt: gap.RepairedAt}
	}
	return err
}

func (s *Status) partitions(ctx context.Context, pool *pgxpool.Pool, name string) (err error) {
	if s.Partitions, err = members.Open(ctx, pool, name); err != nil {
		return err
	}
	s.NewTables, err = members.Waiting(ctx, pool, name)
	return err
}

func (s *Status) deadLetters(ctx context.Context, pool *pgxpool.Pool, name string) error {
	rows, err := pool.Query(ctx, `
		SELECT destination, code, code <> '`+delivery.CodeBlocked+`', count(*), min(parked_at)
		FROM outbox_dead_letters d WHERE state IN ('parked', 'redriving') AND `+deadletter.OfSlot+`
		GROUP BY destination, code ORDER BY 3 DESC, 4 DESC, 1, 2`, name)
	if err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	s.DeadLetters, err = pgx.CollectRows(rows, pgx.RowToStructByPos[DeadLetter])
	if err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	return nil
}

func (s *Status) deferrals(ctx context.Context, pool *pgxpool.Pool, name string) error {
	all, err := deferral.Summarize(ctx, pool, name, s.Table)
	for _, d := range all {
		s.Deferrals = append(s.Deferrals, Deferral{
			Destination: d.Destination, Aggregates: d.Groups, Largest: d.Largest, Events: d.Events, Since: d.Since,
			Reason: d.Reason,
		})
	}
	return err
}

func (s *Status) pauses(ctx context.Context, pool *pgxpool.Pool, name string) error {
	stored, err := pause.List(ctx, pool, name)
	for _, p := range stored {
		s.Pauses = append(s.Pauses, Pause{
			Destination: p.Destination, Since: p.Since, Reason: p.Reason, InEffect: p.InEffectSince != nil,
			Events: s.waitingFor(p.Destination),
		})
	}
	return err
}

func (s *Status) replay(ctx context.Context, pool *pgxpool.Pool, name string) error {
	r, err := replay.Latest(ctx, pool, name)
	if err != nil || r == nil {
		return err
	}
	s.Replay = &Replay{ID: r.ID, State: string(r.State), Selected: r.Events, Sent: r.Sent, Refused: r.Refused}
	return nil
}
