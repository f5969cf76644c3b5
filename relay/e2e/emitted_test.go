package e2e_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// readsEmitted is the setting of a relay that reads emitted messages.
const readsEmitted = "RELAY_EMITTED=outbox"

// emit emits events in one transaction.
func (w *testEnv) emit(events ...outbox.Event) {
	w.t.Helper()
	w.must(pgx.BeginFunc(w.t.Context(), w.pool, func(tx pgx.Tx) error {
		return outbox.Emit(w.t.Context(), tx, "outbox", events...)
	}))
}

// emitBytes emits one message with any content.
func (w *testEnv) emitBytes(transactional bool, content []byte) {
	w.t.Helper()
	w.exec(`SELECT pg_logical_emit_message($1::boolean, 'outbox', $2::bytea)`, transactional, content)
}

// TestEmittedEventsArriveLikeRows: with the same attributes and message group, in the order of the
// log, and without a row. They continue where they stopped.
func TestEmittedEventsArriveLikeRows(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming(readsEmitted)
	row, emitted := event(t, "1", `{"n":  0}`), event(t, "1", `{"n":  1}`)
	emitted.Headers = map[string]string{"tenant": "acme"}
	w.must(pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		if err := outbox.Insert(t.Context(), tx, row); err != nil {
			return err
		}
		if err := outbox.Emit(t.Context(), tx, "outbox", emitted); err != nil {
			return err
		}
		return outbox.Insert(t.Context(), tx, event(t, "1", `{"n":  2}`))
	}))
	committed := w.endOfLog()
	w.exec(`BEGIN; SELECT pg_logical_emit_message(true, 'outbox', '{"id":"rolled back"}'); ROLLBACK`)
	w.exec(`SELECT pg_logical_emit_message(true, 'other', 'not for the relay')`)
	for i, got := range w.awaitReceived(3) {
		if want := fmt.Sprintf(`{"n":  %d}`, i); got.Body != want || got.GroupID != "order/1" {
			t.Errorf("message %d is %s of group %s", i, got.Body, got.GroupID)
		}
	}
	got := w.broker.Received(w.queue.ARN)[1]
	for name, want := range map[string]string{
		outbox.AttributeEventID: emitted.ID.String(), outbox.AttributeEventType: "order.created",
		outbox.AttributeAggregateType: "order", outbox.AttributeAggregateID: "1", "tenant": "acme",
		outbox.AttributeSequence: "",
	} {
		if value := attribute(got.Attributes, name); value != want {
			t.Errorf("attribute %s is %q, want %q", name, value, want)
		}
	}
	if attribute(got.Attributes, outbox.AttributeOccurredAt) == "" || got.DeduplicationID != emitted.ID.String() {
		t.Errorf("received %+v", got)
	}
	w.eventually("the transaction is confirmed", func() bool { return w.confirmed(committed) })
	p.kill()
	w.emit(event(t, "1", `{"n":  3}`))
	w.startStreaming(readsEmitted)
	w.awaitBody(`{"n":  3}`)
	if got := len(w.broker.Received(w.queue.ARN)); got != 4 {
		t.Errorf("received %d messages for 4 events", got)
	}
}

// TestOldestAndNewestServerSendMessages: the option of the output plugin is the same in all
// versions.
func TestOldestAndNewestServerSendMessages(t *testing.T) {
	t.Parallel()
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			w := newTestEnvOf(t, version, "orders")
			w.startStreaming(readsEmitted)
			w.exec(`SELECT pg_logical_emit_message(true, 'outbox', json_build_object('id', gen_random_uuid(),
				'aggregate_type', 'order', 'aggregate_id', 4711, 'event_type', 'order.shipped',
				'payload', '{"carrier":  "dhl"}'::json)::text)`)
			got := w.awaitReceived(1)[0]
			if got.Body != `{"carrier":  "dhl"}` || attribute(got.Attributes, "aggregate_id") != "4711" {
				t.Errorf("received %+v", got)
			}
		})
	}
}

func TestMessagesAreIgnoredWithoutTheSetting(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming()
	w.emit(event(t, "1", `{"n":1}`))
	w.commit(event(t, "1", `{"n":2}`))
	if got := w.awaitReceived(1)[0].Body; got != `{"n":2}` {
		t.Errorf("received %s", got)
	}
}

// TestMessagesOfNoTransactionAreIgnored: they are sent at once, even if the change that they report
// is rolled back.
func TestMessagesOfNoTransactionAreIgnored(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming(readsEmitted)
	w.emitBytes(false, []byte(`{"id":"a","event_type":"t","payload":1}`))
	w.emit(event(t, "1", `{"n":2}`))
	if got := w.awaitReceived(1)[0].Body; got != `{"n":2}` {
		t.Errorf("received %s", got)
	}
	p.awaitLog("event=message_ignored")
}

// TestAMalformedMessageBecomesADeadLetter: with its bytes, and without holding up other aggregates.
func TestAMalformedMessageBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming(readsEmitted)
	w.emitBytes(true, []byte("\xff\x00{"))
	w.emitBytes(true, []byte(`{"id":"b","aggregate_type":"order","aggregate_id":"1","event_type":"t","paylod":1}`))
	w.emit(event(t, "1", `{"n":1}`), event(t, "2", `{"n":2}`))
	w.awaitBody(`{"n":2}`)
	w.eventually("three are parked", func() bool { return w.deadLetters() == "parked,parked,parked" })
	got := w.query(`SELECT string_agg(concat_ws('|', code, event->>'message_group_id', event->>'body',
		event->>'body_base64'), E'\n' ORDER BY message_group, position) FROM outbox_dead_letters`)
	id := w.query(`SELECT row_event_id FROM outbox_dead_letters WHERE message_group LIKE 'event:%'`)
	want := "MalformedMessage|event:" + strings.ReplaceAll(id, "/", "%2F") + "||" +
		base64.StdEncoding.EncodeToString([]byte("\xff\x00{")) + "\n" +
		`MalformedMessage|order/1|{"id":"b","aggregate_type":"order","aggregate_id":"1","event_type":"t","paylod":1}` +
		"\n" + `BlockedGroup|order/1|{"n":1}`
	if got != want || !strings.HasPrefix(id, "lsn:") {
		t.Errorf("dead letters\n%s\nwant\n%s", got, want)
	}
	position := w.query(`SELECT position::text FROM outbox_dead_letters WHERE row_event_id = 'b'`)
	output, err := w.command([]string{readsEmitted}, "dead-letters", "show", position)
	if err != nil || !strings.Contains(output, "has an unknown member") {
		t.Errorf("%v: %s", err, output)
	}
}

// TestAnyMessageIsPassed: also one with a character that no text of Postgres can hold, wherever it
// is.
func TestAnyMessageIsPassed(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming(readsEmitted, "RELAY_ROUTES=event:dropped=none")
	for _, content := range []string{
		`{"id":"a\u0000","event_type":"t","aggregate_type":"order","aggregate_id":"1","payload":1}`,
		`{"id":"b","event_type":"t\u0000","payload":1}`,
		`{"id":"c","event_type":"t","aggregate_id":"1\u0000","payload":1}`,
		`{"id":"d","event_type":"t","aggregate_type":"o\u0000","aggregate_id":"1","payload":1}`,
		`{"id":"e\u0000","event_type":"dropped","payload":1}`,
		`{"id":"f\u0000","unknown\u0000":1}`,
	} {
		w.emitBytes(true, []byte(content))
	}
	w.emitBytes(true, []byte(`{"id":"g","event_type":"t","headers":{"a":"\u0000"},"payload":"\u0000"}`))
	w.emit(event(t, "2", `{"n":2}`))
	w.awaitBody(`{"n":2}`)
	w.awaitBody(`"\u0000"`)
	w.eventually("the others are parked, except the one that a route drops", func() bool {
		return w.query(`SELECT string_agg(code, ',') FROM outbox_dead_letters`) ==
			strings.TrimSuffix(strings.Repeat("MalformedMessage,", 5), ",")
	})
	if output, err := w.command(nil, "dead-letters", "list"); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

// TestARefusedMessageIsRedriven: the dead letter is the only copy of the event, also of one that is
// too large for every broker.
func TestARefusedMessageIsRedriven(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.startStreaming(readsEmitted)
	w.emit(event(t, "1", `{"n":1}`), event(t, "1", `{"n":2}`))
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
	refused.Clear()
	w.redriveAll()
	w.awaitBody(`{"n":1}`)
	w.awaitBody(`{"n":2}`)
	large := strings.Repeat("x", outbox.MaxPayload)
	w.emitBytes(true, []byte(`{"id":"large","event_type":"t","payload":"`+large+`"}`))
	w.eventually("the large one is parked with its bytes", func() bool {
		return w.query(`SELECT ((event->>'body')::json->>'payload' = $1)::text FROM outbox_dead_letters
			WHERE row_event_id = 'large'`, large) == "true"
	})
}

// TestMessagesOfAnUnavailableDestinationPark: no row can wait for them.
func TestMessagesOfAnUnavailableDestinationPark(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	other, err := w.broker.CreateQueue("other.fifo", nil)
	w.must(err)
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "other.fifo"},
		fakeaws.Missing())
	w.startStreaming(readsEmitted, "RELAY_ROUTES=aggregate:other="+other.ARN, "RELAY_PARK_AFTER=1s",
		"RELAY_WINDOW_EVENTS=50")
	w.exec(`SELECT pg_logical_emit_message(true, 'outbox', json_build_object('id', gen_random_uuid(),
		'aggregate_type', 'other', 'aggregate_id', i % 5, 'event_type', 't',
		'payload', json_build_object('n', i))::text)
		FROM generate_series(1, 100) AS i`)
	w.commit(event(t, "1", `{"row":true}`))
	w.awaitBody(`{"row":true}`)
	w.eventually("the messages are parked", func() bool {
		return w.query(`SELECT count(*)::text FROM outbox_dead_letters WHERE state = 'parked'`) == "100"
	})
	unavailable.Clear()
	w.redriveAll()
	w.must(w.broker.AwaitReceived(t.Context(), other.ARN, 100))
	checkAscending(t, w.broker.Received(other.ARN))
}

// TestALostSlotWithMessagesHalts: no table has them, so only a command continues without them.
func TestALostSlotWithMessagesHalts(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testEnv){
		"dropped":  (*testEnv).dropSlot,
		"advanced": (*testEnv).advanceSlot,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			p := w.startStreaming(readsEmitted)
			w.emit(event(t, "1", `{"n":1}`))
			w.awaitBody(`{"n":1}`)
			p.stop()
			w.emit(event(t, "1", `"lost"`))
			w.commit(event(t, "1", `"row"`))
			lose(w)
			output, err := w.command([]string{readsEmitted}, "run")
			if err == nil || !strings.Contains(output, "relay recover") || !strings.Contains(output, "prefix outbox") {
				t.Fatalf("%v: %s", err, output)
			}
			output, err = w.command([]string{readsEmitted}, "recover", "--yes")
			if err != nil || !strings.Contains(output, "with the prefix outbox, because no table has them") {
				t.Fatalf("%v: %s", err, output)
			}
			w.startStreaming(readsEmitted)
			w.awaitBody(`"row"`)
			w.emit(event(t, "1", `"after"`))
			w.awaitBody(`"after"`)
			if got := w.bodies(); got[`"lost"`] != 0 || got[`"row"`] != 1 {
				t.Errorf("received %v", got)
			}
		})
	}
}

// TestARelayThatReadsNoMessagesIsRefused: the log is their only copy, so a relay with other
// settings must not confirm them. An operator can give them up.
func TestARelayThatReadsNoMessagesIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming(readsEmitted)
	p.stop()
	w.emit(event(t, "1", `"first"`))
	for _, setting := range []string{"RELAY_EMITTED=", "RELAY_EMITTED=outbox2"} {
		for _, command := range []string{"run", "check"} {
			output, err := w.command([]string{setting}, command)
			if err == nil || !strings.Contains(output, "RELAY_EMITTED=outbox") ||
				!strings.Contains(output, "relay recover --without-messages") {
				t.Errorf("%s %s: %v: %s", setting, command, err, output)
			}
		}
	}
	p = w.startStreaming(readsEmitted)
	w.awaitBody(`"first"`)
	p.stop()
	w.emit(event(t, "1", `"given up"`))
	output, err := w.command(nil, "recover", "--without-messages")
	if err != nil || !strings.Contains(output, "nothing is changed") {
		t.Errorf("%v: %s", err, output)
	}
	if output, err := w.command(nil, "recover", "--without-messages", "--yes"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w.startStreaming()
	w.commit(event(t, "1", `"row"`))
	w.awaitBody(`"row"`)
	if got := w.bodies(); got[`"given up"`] != 0 {
		t.Errorf("received %v", got)
	}
}

// TestAMarkedRecoveryGivesUpNoMessage: the slot is lost after a recovery was marked for a gap that
// loses no message.
func TestAMarkedRecoveryGivesUpNoMessage(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming(readsEmitted)
	w.emit(event(t, "1", `"first"`))
	w.awaitBody(`"first"`)
	p.stop()
	w.emit(event(t, "1", `"lost"`))
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	if output, err := w.command([]string{readsEmitted}, "recover", "--yes"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w.dropSlot()
	output, err := w.command([]string{readsEmitted}, "run")
	if err == nil || !strings.Contains(output, "Messages that were committed since") {
		t.Fatalf("%v: %s", err, output)
	}
	if output, err := w.command([]string{readsEmitted}, "recover", "--yes"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w.startStreaming(readsEmitted)
	w.emit(event(t, "1", `"after"`))
	w.awaitBody(`"after"`)
}

// TestAChangedPublicationLosesNoMessage: the slot brings messages under any publication.
func TestAChangedPublicationLosesNoMessage(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming(readsEmitted)
	w.commit(event(t, "1", `"first"`))
	w.awaitBody(`"first"`)
	p.stop()
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	w.emit(event(t, "1", `"message"`))
	w.commit(event(t, "1", `"row"`))
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	w.startStreaming(readsEmitted)
	w.awaitBody(`"message"`)
	w.awaitBody(`"row"`)
}

func TestCheckSaysWhatMessagesLack(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	output, err := w.command([]string{readsEmitted}, "check")
	if err != nil || !strings.Contains(output, "degraded  emitted") || !strings.Contains(output, "cannot be replayed") {
		t.Errorf("%v: %s", err, output)
	}
}

// TestAMalformedMessageKeepsItsBytesInAnyFormat: no format is applied to it.
func TestAMalformedMessageKeepsItsBytesInAnyFormat(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(readsEmitted, "RELAY_FORMAT=cloudevents")
	const content = `{"id":"b","event_type":"t","paylod": 1}`
	w.emitBytes(true, []byte(content))
	w.eventually("it is parked with its bytes", func() bool {
		return w.query(`SELECT code || (event->>'body') FROM outbox_dead_letters`) == "MalformedMessage"+content
	})
}

// TestALongMessageIsParkedWithoutItsBytes: any role may write one of 1 GB, with any prefix.
func TestALongMessageIsParkedWithoutItsBytes(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming(readsEmitted)
	w.exec(`SELECT pg_logical_emit_message(true, 'other', repeat('x', 40000000))`)
	w.exec(`SELECT pg_logical_emit_message(true, 'outbox', '{"id":"long","event_type":"t","aggregate_type":"order",
		"aggregate_id":"1","payload":"' || repeat('x', 40000000) || '"}')`)
	w.commit(event(t, "2", `{"after":true}`))
	w.awaitBody(`{"after":true}`)
	w.eventually("the message is parked", func() bool { return w.deadLetters() == "parked" })
	letter := w.query(`SELECT concat_ws(' ', row_event_id, message_group, code, reason) FROM outbox_dead_letters`)
	if !strings.HasPrefix(letter, "long order/1 MalformedMessage") || !strings.Contains(letter, "the message has 400") {
		t.Errorf("dead letter: %s", letter)
	}
}
