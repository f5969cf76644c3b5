package chaos

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// hasSeveral excludes runs of a relay with one table.
func hasSeveral(p *Plan) bool { return p.shape().tables != nil }

// each returns the outbox tables.
func (s *shape) each() []string {
	if s.tables == nil {
		return []string{s.table}
	}
	return s.tables
}

// rows returns the relation with the rows of all outbox tables.
func (s *shape) rows() string {
	if s.tables == nil {
		return s.table
	}
	return "outboxes"
}

// published returns the tables that the publication has at the start.
func (s *shape) published() string {
	if s.tables == nil {
		return s.table
	}
	return strings.Join(s.tables[:len(s.tables)-1], ", ")
}

// newID is an expression in a trigger for the id of an event in the history.
func (s *shape) newID() string {
	if s.tables == nil {
		return "new." + s.columns.id + "::text"
	}
	return "TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME || '/' || new." + s.columns.id
}

// place returns the table and the id of the n-th aggregate of a destination. Each table has an
// aggregate of the same id.
func (s *shape) place(n int, id string) (table, placed string) {
	if s.tables == nil {
		return "", id
	}
	if _, err := strconv.Atoi(id); err == nil {
		id = strconv.Itoa(n / len(s.tables))
	}
	return s.tables[n%len(s.tables)], id
}

// twins gives the events of every table the same ids.
type twins struct {
	mu    sync.Mutex
	ids   []string
	given map[string]int // by table
}

// next returns the id of the next event of a table, behind the name of the table.
func (t *twins) next(table string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.given == nil {
		t.given = map[string]int{}
	}
	n := t.given[table]
	t.given[table]++
	if n == len(t.ids) {
		t.ids = append(t.ids, uuid.Must(uuid.NewV7()).String())
	}
	return table + "/" + t.ids[n]
}

// tableJoins adds the last table to the publication, with the rows that it has.
var tableJoins = fault{
	name: "table joins", weight: 6, repeats: true, skips: true, needs: hasSeveral, do: joinTable,
}

// joinTable has a transaction write to the table before the publication has it, and commit while
// the relay has yet to find it, or while the relay waits for the transaction.
func joinTable(ctx context.Context, a *act) error {
	table := a.shape.tables[len(a.shape.tables)-1]
	o, err := a.writeOpenWith(ctx, func(e *checker.Event) {
		e.Table, e.ID = table, a.twins.next(table)
	})
	if err != nil || o == nil {
		return err
	}
	err = a.exec(ctx, `ALTER PUBLICATION outbox_pub ADD TABLE `+table)
	if hasCode(err, "42710") { // duplicate_object: it has joined before
		err = nil
	}
	pause(ctx, a.within(3*time.Second))
	o.commit(ctx)
	if err != nil {
		return fmt.Errorf("add %s to the publication: %w", table, err)
	}
	a.awaitAccounted(ctx)
	return nil
}

// awaitAccounted waits until the rows that every table had before the publication streamed it are
// delivered. They may arrive after later events until then, so the fault lasts as long. A recovery
// comes before them, and may take longer than the fault waits.
func (a *act) awaitAccounted(ctx context.Context) {
	began := time.Now()
	accounted := await(ctx, a.options.Settle, func() bool {
		if time.Since(began) > 2*time.Second { // it lets walsenders decode from a later position
			began = time.Now()
			_ = a.exec(ctx, `CHECKPOINT`)
		}
		var accounted int
		err := a.admin.QueryRow(ctx, `SELECT count(DISTINCT relation) FROM relay_members
			WHERE accounted`).Scan(&accounted)
		return err == nil && accounted >= len(a.shape.tables)
	})
	if !accounted {
		a.note = lasts
	}
}

// lasts notes that a fault had not ended when the machine continued.
func lasts(f *checker.Fault) { f.To = checker.Unended }

// whileTableJoins kills all relays while a table comes, or comes back.
func whileTableJoins(ctx context.Context, a *act) error {
	table := a.shape.tables[a.random.IntN(len(a.shape.tables))]
	if err := a.exec(ctx, `ALTER PUBLICATION outbox_pub DROP TABLE `+table); err != nil && !hasCode(err, "42704") {
		return err
	}
	pause(ctx, a.within(1500*time.Millisecond))
	if err := a.exec(ctx, `ALTER PUBLICATION outbox_pub ADD TABLE `+table); err != nil {
		return err
	}
	pause(ctx, a.within(2500*time.Millisecond))
	if err := killAll(ctx, a); err != nil {
		return err
	}
	a.awaitAccounted(ctx)
	return nil
}
