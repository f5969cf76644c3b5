package e2e_test

import "testing"

// restoreDeferred writes the state that a dump of another cluster leaves: events 1 to 100 wait for
// the second destination, except those up to 40. ahead is how far transaction ids are ahead there.
func (o *outage) restoreDeferred(ahead int) {
	o.t.Helper()
	o.startStreaming(o.env...).stop()
	o.dropSlot()
	o.fromAnotherCluster()
	first := o.query(`SELECT (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + $1)::text`, ahead)
	o.exec(`INSERT INTO outbox_events (id, seq, aggregate_type, aggregate_id, event_type, payload, xid, created_at)
		OVERRIDING SYSTEM VALUE
		SELECT gen_random_uuid(), i, 'other', (i % 20)::text, 't', json_build_object('n', i),
			($1::bigint + i)::text::xid8, '2026-01-01'
		FROM generate_series(1, 100) AS i`, first)
	o.exec(`SELECT setval(pg_get_serial_sequence('outbox_events', 'seq'), 100)`)
	o.exec(`INSERT INTO outbox_deferrals
		(slot_name, outbox_table, destination, system_identifier, known, from_seq, routes, state, reason)
		SELECT $1, 'public.outbox_events', $2, '1', format('%s:%s:', $3::bigint + 61, $3::bigint + 61)::pg_snapshot, 41,
			ARRAY[$4], 'deferred', 'the destination was unavailable'`,
		o.slot, o.other.ARN, first, o.queue.ARN+"\naggregate:other="+o.other.ARN)
}

// TestWhatWaitsIsCopiedOnce: after the rows were copied to another cluster, those that were
// delivered there do not come again, although they are older than --since, and those that wait do.
func TestWhatWaitsIsCopiedOnce(t *testing.T) {
	t.Parallel()
	o := newPausable(t)
	o.restoreDeferred(1_000_000)
	o.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'other', 'new', 't', json_build_object('n', 101)`)
	o.recover("--since=2026-02-01T00:00:00Z", "--yes")
	o.startStreaming(o.env...)
	if repeated := o.awaitAll(61); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	if o.arrived()[40] || !o.arrived()[41] || !o.arrived()[101] {
		t.Errorf("other events arrived: %v", o.arrived())
	}
	o.awaitState("")
}

// TestATrustedHorizonTrustsItsDeferrals: pg_upgrade has kept the transaction ids.
func TestATrustedHorizonTrustsItsDeferrals(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.end()
	p := o.startStreaming(o.env...)
	o.write(1, 40)
	o.awaitAll(40)
	o.awaitHorizon() // the deferral knows that they were delivered
	o.begin()
	o.write(41, 100)
	o.awaitState("deferred")
	o.passBy(`{"beside":1}`)
	o.awaitHorizon()
	p.stop()
	o.dropSlot()
	o.fromAnotherCluster()
	o.exec(`UPDATE outbox_deferrals SET system_identifier = '1'`)
	o.recover("--trust-horizon", "--yes")
	o.end()
	o.startStreaming(o.env...)
	if repeated := o.awaitAll(100); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	o.awaitState("")
}
