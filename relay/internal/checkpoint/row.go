package checkpoint

import (
	"time"

	"github.com/jackc/pglogrepl"
)

// Row is a checkpoint row: the state from which a relay continues after a crash of the relay or of
// Postgres.
type Row struct {
	Slot             string
	Table            string   // schema.name of the outbox table, or the names of several
	Tables           []string // of several, by their numbers; nil for one
	Epoch            int64    // raised by a relay that acquires the slot or marks a recovery, and by commands
	SystemIdentifier string
	Position         Position
	Horizon          string // pg_snapshot whose visible events are done: see the package documentation
	Fingerprint      string // of the publication at the horizon
	Recovery         *Recovery
	UpdatedAt        time.Time
	Emitted          string // prefix of the emitted messages that the slot brings; empty: none are read
}

// IsInPlace reports whether the recovery keeps an intact slot that still has to bring transactions
// that commit before the end of the recovery.
func (r *Row) IsInPlace() bool { return r.Recovery != nil && r.Recovery.Until > r.Position.FlushLSN }

// Recovery selects the rows that the relay publishes from the table: those that are visible in To
// and not in From.
type Recovery struct {
	From  string // pg_snapshot
	To    string // pg_snapshot; empty until it is known
	Since string // timestamptz: rows created earlier count as delivered; empty: none do; or [SinceNever]
	// Until is the log position of To: every transaction that is visible in To commits before
	// Until, and the slot brings every other transaction. It is zero if To belongs to the position
	// at which the slot was created.
	Until pglogrepl.LSN
}

// IsMarked reports whether a recovery was requested and has only its From.
func (r *Recovery) IsMarked() bool { return r != nil && r.To == "" }
