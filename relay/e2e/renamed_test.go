package e2e_test

import (
	"regexp"
	"testing"
)

// renamedSetting matches the setting that the relay recommends.
var renamedSetting = regexp.MustCompile(`If the column was renamed, set (RELAY_COLUMN_\w+=\S+?),? which`)

// follow waits until the relay ends, and returns the setting that it recommends.
func (p *process) follow() string {
	p.t.Helper()
	if err := p.wait(); err == nil {
		p.t.Fatal("the relay ended without an error")
	}
	found := renamedSetting.FindStringSubmatch(p.log.String())
	if found == nil {
		p.t.Fatal("the relay names no setting")
	}
	return found[1]
}

func TestRenamedColumnIsReadUnderBothNames(t *testing.T) {
	t.Parallel()
	rename := func(w *testEnv) { w.exec(`ALTER TABLE outbox_events RENAME payload TO body`) }
	write := func(w *testEnv, column, body string) {
		w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, `+column+`)
			VALUES (gen_random_uuid(), 'order', '1', 'order.created', $1)`, body)
	}
	for name, begin := range map[string]func(*testEnv) *process{
		"while the relay streams": func(w *testEnv) *process {
			p := w.startStreaming()
			write(w, "payload", `{"n":1}`)
			rename(w)
			write(w, "body", `{"n":2}`)
			return p
		},
		"while the relay is down": func(w *testEnv) *process {
			w.startStreaming().stop()
			write(w, "payload", `{"n":1}`)
			rename(w)
			write(w, "body", `{"n":2}`)
			// another column that no setting names
			w.exec(`ALTER TABLE outbox_events ADD other text`)
			return w.start("RELAY_COLUMN_PAYLOAD=body")
		},
		"forth and back": func(w *testEnv) *process {
			w.startStreaming().stop()
			rename(w)
			write(w, "body", `{"n":1}`)
			w.exec(`ALTER TABLE outbox_events RENAME body TO payload`)
			write(w, "payload", `{"n":2}`)
			return w.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			setting := begin(w).follow()
			p := w.startStreaming(setting)
			w.awaitBody(`{"n":1}`)
			w.awaitBody(`{"n":2}`)
			p.stop()
			if output, err := w.command([]string{setting}, "check"); err != nil {
				t.Errorf("check refuses %s: %s", setting, output)
			}
		})
	}
}

// The operator has announced the new name, and the relay's statements use the name that exists.
func TestColumnMayBeRenamedUnderARunningRelay(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming("RELAY_COLUMN_SEQUENCE=seq,number", "RELAY_COLUMN_XID=xid,writer",
		"RELAY_COLUMN_PAYLOAD=payload,body")
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitBody(`{"n":1}`)
	w.exec(`ALTER TABLE outbox_events RENAME payload TO body`)
	w.exec(`ALTER TABLE outbox_events RENAME seq TO number`)
	w.exec(`ALTER TABLE outbox_events RENAME xid TO writer`)
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, body)
		VALUES (gen_random_uuid(), 'order', '1', 'order.created', '{"n":2}')`)
	w.awaitBody(`{"n":2}`)
	p.awaitLog("a column of the outbox table was renamed")
	before := w.query(`SELECT horizon::text FROM relay_checkpoints`)
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, body)
		VALUES (gen_random_uuid(), 'order', '1', 'order.created', '{"n":3}')`)
	w.awaitBody(`{"n":3}`)
	w.eventually("the audit continues", func() bool {
		return w.query(`SELECT horizon::text FROM relay_checkpoints`) != before
	})
	for body, n := range w.bodies() {
		if n > 1 {
			t.Logf("%s arrived %d times", body, n)
		}
	}
}
