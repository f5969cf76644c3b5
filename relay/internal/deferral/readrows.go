package deferral

import (
	"context"
	"fmt"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// pageRows is how many rows are read at once.
const pageRows = 200

// countRows counts rows by their seqs.
const countRows = `SELECT count(*) FROM {table} WHERE {seq} = ANY ($1::bigint[])`

// areVisible reports whether the tables have all rows with these common seqs.
func (r *Rows) areVisible(ctx context.Context, seqs []int64) (bool, error) {
	ctx, done, err := r.store.takeTurn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	found := 0
	for _, part := range r.split(slices.Sorted(slices.Values(seqs))) {
		var rows int
		if err := r.store.pool.QueryRow(ctx, part.table.countRows, part.seqs).Scan(&rows); err != nil {
			return false, fmt.Errorf("look for the rows of %d events: %w", len(seqs), err)
		}
		found += rows
	}
	return found >= len(seqs), nil
}

// part is a list of seqs of one table.
type part struct {
	table *tableRows
	seqs  []int64
}

// split divides sorted common seqs by their tables.
func (r *Rows) split(seqs []int64) (parts []part) {
	for _, common := range seqs {
		t, own, found := r.of(common)
		if !found { // the table is gone
			continue
		}
		if last := len(parts) - 1; last < 0 || parts[last].table != t {
			parts = append(parts, part{table: t})
		}
		last := &parts[len(parts)-1]
		last.seqs = append(last.seqs, own)
	}
	return parts
}

// read calls take for the rows with these common seqs, in order. Rows that were removed meanwhile
// are missing. It reads a page once awaitRoom has returned: a row may have many MB, and the rows
// before it may still be in flight.
func (r *Rows) read(
	ctx context.Context, seqs []int64, awaitRoom func() error, take func(page []outbox.Envelope) error,
) error {
	for _, p := range r.split(seqs) {
		for chunk := range slices.Chunk(p.seqs, pageRows) {
			if err := r.readChunk(ctx, part{p.table, chunk}, awaitRoom, take); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Rows) readChunk(
	ctx context.Context, p part, awaitRoom func() error, take func(page []outbox.Envelope) error,
) error {
	for after, last := p.seqs[0]-1, p.seqs[len(p.seqs)-1]; after < last; {
		if err := awaitRoom(); err != nil {
			return err
		}
		page, reached, err := r.pageOf(ctx, p.table, after, p.seqs)
		switch {
		case err != nil:
			return err
		case len(page) == 0:
			return nil
		}
		if err := take(page); err != nil {
			return err
		}
		after = reached
	}
	return nil
}

func (r *Rows) pageOf(
	ctx context.Context, t *tableRows, after int64, seqs []int64,
) ([]outbox.Envelope, int64, error) {
	ctx, done, err := r.store.takeScan(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	return t.page(ctx, after, t.bySeq, seqs)
}
