package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// fault is a fault for which an operator is called at night.
type fault struct {
	// cause causes the fault in an environment of its own.
	cause func(t *testing.T) *testEnv
	code  int      // exit code of relay status
	says  []string // cause and next step on its screen
}

// faults are the faults of a night, by name.
var faults = map[string]fault{
	"the broker hangs": {
		cause: func(t *testing.T) *testEnv {
			w := newTestEnv(t, "orders.fifo")
			w.startStreaming("RELAY_REQUEST_TIMEOUT=1s")
			w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Hang())
			w.commit(event(t, "1", `{"n":1}`))
			return w
		},
		code: 1,
		says: []string{
			"orders.fifo has accepted nothing since", "timeout after", "1 read and not delivered", "the relay retries",
		},
	},
	"the topic was deleted": {
		cause: func(t *testing.T) *testEnv {
			w := newTestEnv(t, "orders.fifo")
			arn, err := w.broker.CreateTopic("events.fifo", nil)
			w.must(err)
			w.startStreaming("RELAY_DESTINATION=" + arn)
			response, err := http.PostForm(w.broker.URL(), url.Values{"Action": {"DeleteTopic"}, "TopicArn": {arn}})
			w.must(err)
			w.must(response.Body.Close())
			w.commit(event(t, "1", `{"n":1}`))
			return w
		},
		code: 1,
		says: []string{
			"events.fifo has accepted nothing since", "NotFound", "does not exist", "fix the cause in the answer",
		},
	},
	"the slot was dropped and repaired": {
		cause: func(t *testing.T) *testEnv {
			w := newTestEnv(t, "orders.fifo")
			w.startStreaming().stop()
			w.dropSlot()
			w.startStreaming()
			return w
		},
		code: 0,
		says: []string{"last gap", "the slot is gone; published from the table until"},
	},
	"the publication was emptied": {
		cause: func(t *testing.T) *testEnv {
			w := newTestEnv(t, "orders.fifo")
			w.startStreaming()
			w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
			w.commit(event(t, "1", `{"n":1}`))
			w.eventually("relay status shows that an event waits", func() bool {
				screen, _ := w.command(nil, "status")
				return strings.Contains(screen, "an undelivered event may have waited for ")
			})
			return w
		},
		code: 2,
		says: []string{"does not stream every row", "ALTER PUBLICATION", "fix the cause in the error"},
	},
	"the password was changed": {
		cause: func(t *testing.T) *testEnv {
			w, server := newRolesEnv(t, "orders.fifo", 0)
			w.url = server.URL("relay", pgtest.Superuser) // the operator's, for relay status
			w.must(server.Authenticate(t.Context(), "host all outbox_relay 127.0.0.1/32 scram-sha-256"))
			w.exec(`ALTER ROLE outbox_relay PASSWORD 'first'`)
			w.startStreaming(fmt.Sprintf("DATABASE_URL=postgres://outbox_relay:first@127.0.0.1:%d/relay",
				server.Port()))
			w.awaitStatus(0, "streaming for")
			w.exec(`ALTER ROLE outbox_relay PASSWORD 'second'`)
			w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'outbox_relay'`)
			w.awaitStatus(1, "no process reads slot") // before the relay counts as silent
			return w
		},
		code: 2,
		says: []string{
			"has not been heard from for", "cannot reach the database (address, password, network)", "not held",
		},
	},
	"the relay was killed beside a standby": {
		cause: func(t *testing.T) *testEnv {
			w := newTestEnv(t, "orders.fifo")
			holder := w.startStreaming()
			standby := w.start()
			standby.awaitLog("event=standby")
			holder.kill()
			standby.awaitLog("event=streaming")
			return w
		},
		code: 1,
		says: []string{"a second relay on ", "has not been heard from for", "streaming for", "held by process"},
	},
}

// TestStatusNamesTheCauseOfEachFault: relay status is the first command of every runbook.
func TestStatusNamesTheCauseOfEachFault(t *testing.T) {
	t.Parallel()
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := f.cause(t)
			screen := w.awaitStatus(f.code, f.says[0])
			w.checkSays(screen, f.says...)
			t.Log(strings.TrimSpace(screen))
		})
	}
}
