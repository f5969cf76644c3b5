package order

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

var (
	// ErrNotFound means that the caller has no order with this id.
	ErrNotFound = errors.New("order not found")
	// ErrKeyReused means that the caller has used the idempotency key before, with another draft.
	ErrKeyReused = errors.New("idempotency key was used for another order")
)

const (
	// keyLifetime is the lifetime of a key. Afterwards the same key creates another order.
	keyLifetime = 24 * time.Hour
	// claimKey waits for a transaction that is writing the same key. It does not replace an
	// existing key unless that key has expired.
	claimKey = `
		INSERT INTO order_request_keys AS known (caller, key, fingerprint, order_id)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (caller, key) DO UPDATE
		SET fingerprint = excluded.fingerprint, order_id = excluded.order_id, created_at = excluded.created_at
		WHERE known.created_at < clock_timestamp() - $5::interval`
	selectKey = `SELECT fingerprint, order_id FROM order_request_keys WHERE caller = $1 AND key = $2`
	// removeExpiredKeys deletes more than one expired key for each new key, so the table is bounded
	// by the keys of one lifetime. It skips a key that another transaction has locked.
	removeExpiredKeys = `
		DELETE FROM order_request_keys WHERE (caller, key) IN (
			SELECT caller, key FROM order_request_keys WHERE created_at < clock_timestamp() - $1::interval
			ORDER BY created_at LIMIT 10 FOR UPDATE SKIP LOCKED)`
	insertOrder = `INSERT INTO orders (id, caller, customer_id, currency, total, created_at) VALUES ($1, $2, $3, ` +
		`$4, $5, $6)`
	insertLines = `
		INSERT INTO order_lines (order_id, position, sku, quantity, unit_price)
		SELECT $1, position, sku, quantity, unit_price
		FROM unnest($2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS line (sku, quantity, unit_price,
			position)`
	selectOrder = `
		SELECT customer_id, currency, total, created_at, sku, quantity, unit_price
		FROM orders JOIN order_lines ON order_id = id
		WHERE id = $1 AND caller = $2
		ORDER BY position`
)

// readCommitted overrides the default of the database: the statement after [claimKey] must see the
// row for which claimKey waited.
var readCommitted = pgx.TxOptions{IsoLevel: pgx.ReadCommitted}

// Store stores orders in Postgres. Its methods return an [*UnavailableError] if a later retry may
// succeed.
type Store struct {
	pool *pgxpool.Pool
}

// NewStore returns a store on pool.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// CreateRequest is a valid draft with its context.
type CreateRequest struct {
	Draft          Draft
	Caller         string            // the owner of the order and of the key; empty for all unknown callers
	IdempotencyKey string            // may be empty
	Headers        map[string]string // of the event
}

// Create stores the order and its event in one transaction, and returns created = true. If the
// caller used the idempotency key within the last 24 hours with an equal draft, Create writes
// nothing and returns the first order. With another draft it returns [ErrKeyReused].
//
// After an [*UnavailableError] the order may be stored, because the answer to a commit can be lost.
// A retry with the same key returns that order.
func (s *Store) Create(ctx context.Context, request CreateRequest) (o Order, created bool, err error) {
	fresh, err := New(request.Draft, time.Now())
	if err != nil {
		return Order{}, false, err
	}
	event, err := fresh.Created(request.Headers)
	if err != nil {
		return Order{}, false, err
	}
	err = pgx.BeginTxFunc(ctx, s.pool, readCommitted, func(tx pgx.Tx) error {
		id, err := claim(ctx, tx, request, fresh.ID)
		if err != nil {
			return err
		}
		if id != fresh.ID {
			o, err = read(ctx, tx, request.Caller, id)
			return err
		}
		o = fresh
		if err := insert(ctx, tx, request.Caller, o); err != nil {
			return err
		}
		return outbox.Insert(ctx, tx, event)
	})
	if err != nil {
		return Order{}, false, storeError("create order", err)
	}
	return o, o.ID == fresh.ID, nil
}

// Get returns the caller's order. It returns [ErrNotFound] for another caller's order too, so that
// the answer does not reveal the order.
func (s *Store) Get(ctx context.Context, caller string, id uuid.UUID) (Order, error) {
	o, err := read(ctx, s.pool, caller, id)
	if err != nil {
		return Order{}, storeError("get order", err)
	}
	return o, nil
}

// claim returns the id of the order that the request's key belongs to: id, or that of an earlier
// request.
func claim(ctx context.Context, tx pgx.Tx, request CreateRequest, id uuid.UUID) (uuid.UUID, error) {
	if request.IdempotencyKey == "" {
		return id, nil
	}
	fingerprint, err := request.Draft.fingerprint()
	if err != nil {
		return uuid.Nil, err
	}
	claimed, err := tx.Exec(ctx, claimKey, request.Caller, request.IdempotencyKey, fingerprint[:], id, keyLifetime)
	if err != nil {
		return uuid.Nil, fmt.Errorf("claim idempotency key: %w", err)
	}
	if claimed.RowsAffected() == 1 {
		if _, err := tx.Exec(ctx, removeExpiredKeys, keyLifetime); err != nil {
			return uuid.Nil, fmt.Errorf("remove expired idempotency keys: %w", err)
		}
		return id, nil
	}
	var earlier []byte
	if err := tx.QueryRow(ctx, selectKey, request.Caller, request.IdempotencyKey).Scan(&earlier, &id); err != nil {
		return uuid.Nil, fmt.Errorf("read idempotency key: %w", err)
	}
	if string(earlier) != string(fingerprint[:]) {
		return uuid.Nil, ErrKeyReused
	}
	return id, nil
}

// fingerprint is equal for drafts with the same content, whatever the spacing and order of the
// client's JSON.
func (d Draft) fingerprint() ([sha256.Size]byte, error) {
	canonical, err := json.Marshal(d)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("encode the draft: %w", err)
	}
	return sha256.Sum256(canonical), nil
}

func insert(ctx context.Context, tx pgx.Tx, caller string, o Order) error {
	skus := make([]string, len(o.Lines))
	quantities, prices := make([]int64, len(o.Lines)), make([]int64, len(o.Lines))
	for i, line := range o.Lines {
		skus[i], quantities[i], prices[i] = line.SKU, line.Quantity, line.UnitPrice
	}
	var batch pgx.Batch // one round trip
	batch.Queue(insertOrder, o.ID, caller, o.CustomerID, o.Currency, o.Total, o.CreatedAt)
	batch.Queue(insertLines, o.ID, skus, quantities, prices)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("insert order %s: %w", o.ID, err)
	}
	return nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func read(ctx context.Context, db querier, caller string, id uuid.UUID) (Order, error) {
	o := Order{ID: id}
	var line Line
	rows, err := db.Query(ctx, selectOrder, id, caller)
	if err != nil {
		return Order{}, fmt.Errorf("read order %s: %w", id, err)
	}
	columns := []any{&o.CustomerID, &o.Currency, &o.Total, &o.CreatedAt, &line.SKU, &line.Quantity, &line.UnitPrice}
	_, err = pgx.ForEachRow(rows, columns, func() error {
		o.Lines = append(o.Lines, line)
		return nil
	})
	if err != nil {
		return Order{}, fmt.Errorf("read order %s: %w", id, err)
	}
	if len(o.Lines) == 0 {
		return Order{}, ErrNotFound
	}
	o.CreatedAt = o.CreatedAt.UTC()
	return o, nil
}
