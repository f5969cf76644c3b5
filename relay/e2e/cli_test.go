package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestAllBadSettingsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`DROP PUBLICATION outbox_pub`)
	env := []string{
		"RELAY_DESTINATION=arn:aws:sns:us-east-1:000000000000:missing",
		"RELAY_ROUTES=event:order.created=" + w.queue.ARN + ";nonsense",
		"RELAY_GROUP_BATCHES=true", // for FIFO destinations
		"RELAY_COLUMN_PAYLOAD=bdy",
		"RELAY_SLOT=No Slot",
		"RELAY_START=yesterday",
		"RELAY_WAL_SENDER_TIMEOUT=1ms",
	}
	for _, command := range []string{"run", "check"} {
		output, err := w.command(env, command)
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("relay %s ended with %v", command, err)
		}
		for _, problem := range []string{
			"missing", `"nonsense"`, "RELAY_GROUP_BATCHES", "bdy", "RELAY_COLUMN_PAYLOAD", `RELAY_SLOT "No Slot"`,
			"RELAY_START",
			"RELAY_WAL_SENDER_TIMEOUT", "publication outbox_pub does not exist",
		} {
			if !strings.Contains(output, problem) {
				t.Errorf("relay %s does not name %s:\n%s", command, problem, output)
			}
		}
	}
}

func TestMissingDatabaseStopsTheRelayAtStart(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	for url, command := range map[string]string{
		strings.Replace(w.url, "/test_", "/no_test_", 1): "run",
		"postgres://%zz": "run",
		"postgres://127.0.0.1:1/x?connect_timeout=2": "check", // relay run waits instead
	} {
		output, err := w.command([]string{"DATABASE_URL=" + url}, command)
		if err == nil || !strings.Contains(output, "DATABASE_URL") {
			t.Errorf("%s: %v: %s", url, err, output)
		}
		if strings.Contains(output, pgtest.Role+":") {
			t.Errorf("the password is in the error: %s", output)
		}
	}
}

func TestSlotOfAnotherPluginIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'test_decoding')`, w.slot)
	output, err := w.command(nil, "run")
	if err == nil || !strings.Contains(output, "test_decoding") || !strings.Contains(output, "RELAY_SLOT") {
		t.Errorf("%v: %s", err, output)
	}
	if w.query(`SELECT plugin FROM pg_replication_slots WHERE slot_name = $1`, w.slot) != "test_decoding" {
		t.Error("the slot was dropped")
	}
}

func TestFirstStartNeedsADecisionOnExistingRows(t *testing.T) {
	t.Parallel()
	for start, arrive := range map[string][]string{
		"":                           nil,
		"now":                        {"new"},
		"table":                      {"old", "recent", "new"},
		"since:2026-01-01T00:00:00Z": {"recent", "new"},
	} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			insert := `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)
				VALUES (gen_random_uuid(), 'o', '1', 't', to_json($1::text), $2::timestamptz)`
			w.exec(insert, "old", "2025-12-31")
			w.exec(insert, "recent", "2026-01-02")
			if start == "" {
				output, err := w.command(nil, "run")
				if err == nil || !strings.Contains(output, "RELAY_START=table") {
					t.Errorf("%v: %s", err, output)
				}
				return
			}
			w.startStreaming("RELAY_START=" + start)
			w.exec(insert, "new", "2026-01-03")
			w.awaitBody(`"new"`)
			if got := w.bodies(); len(got) != len(arrive) {
				t.Errorf("received %v, want %v", got, arrive)
			}
			for _, body := range arrive {
				if w.bodies()[`"`+body+`"`] != 1 {
					t.Errorf("%s did not arrive once: %v", body, w.bodies())
				}
			}
		})
	}
}

func TestCheckpointOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.exec(`UPDATE relay_checkpoints SET system_identifier = '1' WHERE slot_name = $1`, w.slot)
	output, err := w.command(nil, "run")
	if err == nil || !strings.Contains(output, "system identifier") {
		t.Errorf("%v: %s", err, output)
	}
}

func TestSlotLossHaltsTheRelayIfConfigured(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.dropSlot()
	output, err := w.command([]string{"RELAY_ON_SLOT_LOSS=halt"}, "run")
	if err == nil || !strings.Contains(output, "Run relay recover") {
		t.Errorf("%v: %s", err, output)
	}
}

func TestCheckSucceedsOnAHealthySetup(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	if output, err := w.command(nil, "check"); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

func TestHelpListsEverySettingWithItsDefault(t *testing.T) {
	t.Parallel()
	output, err := exec.Command(relayBinary, "run", "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{
		"DATABASE_URL", "RELAY_DESTINATION", "RELAY_ROUTES", "RELAY_SLOT", "RELAY_PUBLICATION", "RELAY_TABLE",
		"RELAY_COLUMN_ID",
		"RELAY_START", "RELAY_ON_REJECTED", "RELAY_LISTEN", `"outbox_relay"`, "10s", "8192",
	} {
		if !strings.Contains(string(output), setting) {
			t.Errorf("--help does not name %s", setting)
		}
	}
}

func TestProbesAndMetricsReportTheState(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN=" + listen)
	w.commit(event(t, "1", `{}`))
	w.awaitReceived(1)
	for _, path := range []string{"/livez", "/readyz"} {
		if status, body := w.get("http://" + listen + path); status != 200 || !strings.Contains(body, `"streaming"`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	w.eventually("the event is counted", func() bool {
		_, metrics := w.get("http://" + listen + "/metrics")
		return strings.Contains(metrics, fmt.Sprintf(`relay_events_delivered_total{destination="%s"} 1`,
			w.queue.ARN)) &&
			strings.Contains(metrics, `relay_state{state="streaming"} 1`)
	})
	if output, err := w.command([]string{"RELAY_LISTEN=" + listen}, "healthcheck"); err != nil {
		t.Errorf("healthcheck: %v: %s", err, output)
	}
	w.awaitStatus(0, "held by process")
	p.stop()
	if _, err := w.command([]string{"RELAY_LISTEN=" + listen}, "healthcheck"); err == nil {
		t.Error("healthcheck of a stopped relay ends with exit code 0")
	}
}

func TestMigrateIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	output, err := w.command(nil, "migrate")
	if err != nil || !strings.Contains(output, "already") {
		t.Errorf("%v: %s", err, output)
	}
}

func TestEventsFollowTheRoutes(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "default.fifo")
	billing, err := w.broker.CreateQueue("billing", nil)
	w.must(err)
	topic, err := w.broker.CreateTopic("customers.fifo", nil)
	w.must(err)
	subscribed, err := w.broker.CreateQueue("customers.fifo", nil)
	w.must(err)
	_, err = w.broker.Subscribe(topic, subscribed.ARN, map[string]string{"RawMessageDelivery": "true"})
	w.must(err)
	w.startStreaming("RELAY_ROUTES=event:billing.*=" + billing.ARN + "\n aggregate:customer=" + topic)
	for _, e := range [][2]string{
		{"order", "order.created"},
		{"invoice", "billing.sent"},
		{"customer", "customer.moved"},
	} {
		w.commit(outbox.Event{AggregateType: e[0], AggregateID: "1", Type: e[1], Payload: []byte(`"` + e[1] + `"`)})
	}
	for arn, body := range map[string]string{
		w.queue.ARN: "order.created", billing.ARN: "billing.sent",
		subscribed.ARN: "customer.moved",
	} {
		w.must(w.broker.AwaitReceived(t.Context(), arn, 1))
		if got := w.broker.Received(arn); len(got) != 1 || got[0].Body != `"`+body+`"` {
			t.Errorf("%s received %v, want %s", arn, got, body)
		}
	}
}

func TestReturningDestinationReceivesEveryEvent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	missing := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Missing())
	for i := range 20 {
		w.commit(event(t, fmt.Sprint(i), fmt.Sprintf(`{"n":%d}`, i)))
	}
	w.must(missing.AwaitHits(t.Context(), 3))
	p.awaitLog("event=destination_unavailable")
	missing.Clear()
	w.awaitAll(20)
	p.awaitLog("event=destination_available")
	if parked := w.query(`SELECT count(*)::text FROM outbox_dead_letters`); parked != "0" {
		t.Errorf("%s events are parked for a fault of the destination", parked)
	}
}

// freeAddress returns an address on loopback that no process listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := procgroup.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func TestCheckNamesColumnsUnfitForRecovery(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE events (id text, seq integer, xid xid8, kind text, body text)`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE events`)
	output, err := w.command([]string{
		"RELAY_TABLE=public.events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_AGGREGATE_TYPE=",
		"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_CREATED_AT=",
	}, "check")
	if err == nil || !strings.Contains(output, "RELAY_COLUMN_SEQUENCE") ||
		!strings.Contains(output, "RELAY_COLUMN_XID") {
		t.Errorf("relay check said: %s", output)
	}
}

func TestUnreadColumnsAreIgnored(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`ALTER TABLE outbox_events ADD COLUMN size integer GENERATED ALWAYS AS (octet_length(aggregate_id)) STORED`)
	if output, err := w.command(nil, "check"); err != nil {
		t.Errorf("relay check said: %s", output)
	}
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events (id, seq, xid, event_type)`)
	if output, err := w.command(nil, "check"); err == nil || !strings.Contains(output, "columns that the relay reads") {
		t.Errorf("relay check said: %s", output)
	}
}

func TestOneDestinationUnderTwoNamesIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	output, err := w.command([]string{"RELAY_ROUTES=event:order.created=" + w.queue.ARN}, "check")
	if err == nil || !strings.Contains(output, "are the same") {
		t.Errorf("relay check said: %s", output)
	}
}
