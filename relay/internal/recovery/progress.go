package recovery

import (
	"context"
	"log/slog"
	"time"
)

// wholeSeqs tells the Tracker that a seq is recovered once every row of that seq was opened. Rows
// of different partitions may have the same seq, and a recovery continues behind the one that the
// checkpoint row names.
type wholeSeqs struct {
	recovered func(seq int64)
	last      int64
	any       bool
}

// next takes the seq of a row before it is opened.
func (w *wholeSeqs) next(seq int64) {
	if w.any && seq != w.last {
		w.recovered(w.last)
	}
	w.last, w.any = seq, true
}

// beforePage returns a function that ends a page and then awaits the next one. The reader calls it
// before each page, the empty one behind the last row included. A page has all rows of its last
// seq, so a relay that is stopped while it waits for the next page repeats none of them.
func (w *wholeSeqs) beforePage(await func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if w.any {
			w.recovered(w.last)
			w.any = false
		}
		return await(ctx)
	}
}

// progressInterval is the time between two log lines about a long recovery.
const progressInterval = 5 * time.Second

// progress logs how far a recovery has come.
type progress struct {
	log  *slog.Logger
	last time.Time
}

func newProgress(log *slog.Logger) *progress { return &progress{log: log, last: time.Now()} }

func (p *progress) passed(seq int64, delivered uint64) {
	if time.Since(p.last) < progressInterval {
		return
	}
	p.last = time.Now()
	p.log.Info("publishing from the table", "seq", seq, "delivered", delivered)
}
