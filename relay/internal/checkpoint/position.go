package checkpoint

import (
	"github.com/jackc/pglogrepl"
)

// Position is the progress of delivery: the part of the checkpoint row that the [Tracker] computes.
type Position struct {
	// FlushLSN is the end of the last transaction in the delivered prefix, or the position of a
	// keepalive that arrived with nothing open.
	FlushLSN pglogrepl.LSN
	// Transaction is the transaction that is partly delivered; zero between transactions.
	Transaction Transaction
	// RecoveredSeq is the seq up to which every row that recovery has read is delivered.
	RecoveredSeq int64
}

// Transaction counts the delivered events of one transaction. Postgres sends a transaction again
// from its start and with its rows in the same order, so a count is enough to resume in the middle.
type Transaction struct {
	CommitLSN   pglogrepl.LSN // the CommitLSN of Begin and Commit
	Delivered   int64         // events of its delivered prefix
	LastEventID string        // of the last of them: proves on resume that the count refers to the same rows
}
