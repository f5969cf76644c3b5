package audit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// tableLedger is the Ledger of one table. A row that is deleted from one table hides no missing row
// of another one.
type tableLedger struct {
	*Ledger
	table    *Table
	firstSeq int64 // rows up to it are older than the ledger
}

// ledgers has a Ledger for each table. All have the same steps.
type ledgers struct {
	pool     *pgxpool.Pool
	all      []*tableLedger
	byNumber map[int64]*Ledger // nil for one table
	counts   string            // statement
}

func newLedgers(pool *pgxpool.Pool, table outboxtable.Table) ledgers {
	l := ledgers{pool: pool}
	var counts []string
	for i, one := range table.Each() {
		t := &tableLedger{Ledger: NewLedger(), table: NewTable(pool, one)}
		l.all = append(l.all, t)
		counts = append(counts, fmt.Sprintf("SELECT %d, (%s)", i, t.table.sql(count)))
		if one.Source != nil {
			if l.byNumber == nil {
				l.byNumber = map[int64]*Ledger{}
			}
			l.byNumber[one.Source.Number] = t.Ledger
		}
	}
	l.counts = strings.Join(counts, " UNION ALL ") + " ORDER BY 1"
	return l
}

// noLedger counts the rows of tables that no longer exist.
var noLedger = &Ledger{overflow: true}

// of returns the Ledger of a table.
func (l *ledgers) of(source *outbox.Source) *Ledger {
	if source == nil {
		return l.all[0].Ledger
	}
	if found := l.byNumber[source.Number]; found != nil {
		return found
	}
	return noLedger
}

func (l *ledgers) each(do func(*tableLedger)) {
	for _, one := range l.all {
		do(one)
	}
}

// begun reports whether every Ledger has a baseline and has counted every row since.
func (l *ledgers) begun() bool {
	for _, one := range l.all {
		if !one.Begun() {
			return false
		}
	}
	return true
}

func (l *ledgers) restart() { l.each(func(one *tableLedger) { one.Restart() }) }

// unindexed returns the first table without an index on xid, or nil.
func (l *ledgers) unindexed(ctx context.Context, timeout time.Duration) (*outboxtable.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	identifiers, xids := []string{}, []string{}
	for _, one := range l.all {
		identifiers = append(identifiers, one.table.table.Identifier())
		xids = append(xids, one.table.table.Columns.XID)
	}
	rows, err := l.pool.Query(ctx, indexed, identifiers, xids)
	if err != nil {
		return nil, fmt.Errorf("look for an index on the transaction id: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("look for an index on the transaction id: %w", err)
	}
	for i, one := range l.all {
		if i >= len(found) || found[i] != i {
			return &one.table.table, nil
		}
	}
	return nil, nil
}

// tablesAtOnce is how many tables one statement of a baseline reads.
const tablesAtOnce = 100

// baseline returns a baseline above those of all tables. timeout bounds each statement.
func (l *ledgers) baseline(ctx context.Context, timeout time.Duration) (all Baseline, err error) {
	for some := range slices.Chunk(l.all, tablesAtOnce) {
		found, err := l.baselines(ctx, timeout, some)
		if err != nil {
			return all, fmt.Errorf("begin the audit: %w", err)
		}
		for i, b := range found {
			some[i].firstSeq = b.Seq
			all.XID, all.Imported = max(all.XID, b.XID), all.Imported || b.Imported
		}
	}
	return all, nil
}

func (l *ledgers) baselines(ctx context.Context, timeout time.Duration, some []*tableLedger) ([]Baseline, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	statements := make([]string, len(some))
	for i, one := range some {
		statements[i] = fmt.Sprintf("SELECT %d, b.* FROM (%s) AS b", i, one.table.sql(baseline))
	}
	rows, err := l.pool.Query(ctx, strings.Join(statements, " UNION ALL ")+" ORDER BY 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, baselineOf)
}

func (l *ledgers) begin(baseline uint64) { l.each(func(one *tableLedger) { one.Begin(baseline) }) }

// count returns the number of rows of each table in the step.
func (l *ledgers) count(ctx context.Context) ([]int64, error) {
	if len(l.all) == 0 {
		return nil, nil
	}
	step, _ := l.all[0].Step()
	if len(l.all) == 1 {
		rows, err := l.all[0].table.Count(ctx, step)
		return []int64{rows}, err
	}
	rows, err := l.pool.Query(ctx, l.counts, text(step.From.Next()), text(step.To.Next()), step.To.String(),
		lateTexts(step))
	if err != nil {
		return nil, fmt.Errorf("count the rows from snapshot %s to %s: %w", step.From, step.To, err)
	}
	counts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (rows int64, err error) {
		err = row.Scan(nil, &rows)
		return rows, err
	})
	if err != nil {
		return nil, fmt.Errorf("count the rows from snapshot %s to %s: %w", step.From, step.To, err)
	}
	return counts, nil
}

// missing returns the number of rows of one table that the stream did not bring.
func (t *tableLedger) missing(ctx context.Context, step Step, rows int64, brought *Sequences) (int64, error) {
	source := t.table.table.Source
	has := func(seq int64) bool {
		common, err := source.Common(seq)
		return err == nil && brought.Has(common)
	}
	floor := source.Own(brought.Floor())
	if brought.Floor() == math.MinInt64 {
		floor = math.MinInt64
	}
	return t.table.Missing(ctx, step, rows, max(t.firstSeq, floor), has)
}

// doubt is [Table.Doubt] of all tables.
func (l *ledgers) doubt(ctx context.Context, s Step, read *Recent) (string, error) {
	var tables []*Table
	for _, one := range l.all {
		tables = append(tables, one.table)
	}
	return doubt(ctx, tables, s, read)
}

// agreedFrom returns whether any of the tables shows a row that is visible in a snapshot.
func agreedFrom(ctx context.Context, tables []*Table, s pgsnapshot.Snapshot) (bool, error) {
	for _, t := range tables {
		if shown, err := t.shows(ctx, s); shown || err != nil {
			return shown, err
		}
	}
	return false, nil
}
