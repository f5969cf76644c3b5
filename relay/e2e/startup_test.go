package e2e_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func TestStartWaitsForDatabaseAndBroker(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders.fifo")
	w.pool.Reset()
	w.must(server.Stop(pgtest.Fast))
	unavailable := w.broker.Script(fakeaws.Match{}, fakeaws.Unavailable())
	listen := freeAddress(t)
	p := w.start("RELAY_LISTEN="+listen, "RELAY_START=table")
	p.awaitLog("connection refused")
	w.eventually("/readyz names the peers that the relay waits for", func() bool {
		status, body := w.get("http://" + listen + "/readyz")
		return status == 503 && strings.Contains(body, "connection refused") &&
			strings.Contains(body, "ServiceUnavailable")
	})
	if status, body := w.get("http://" + listen + "/livez"); status != 200 {
		t.Errorf("a waiting relay is not alive: %d %s", status, body)
	}
	if output, err := w.command(nil, "check"); err == nil || !strings.Contains(output, "connection refused") {
		t.Errorf("relay check waits: %v: %s", err, output)
	}

	w.must(server.Restart(t.Context()))
	w.eventually("the relay waits for the broker alone", func() bool {
		_, body := w.get("http://" + listen + "/readyz")
		return !strings.Contains(body, "connection refused") && strings.Contains(body, "ServiceUnavailable")
	})
	w.commit(event(t, "1", `{"n":1}`))
	unavailable.Clear()
	w.awaitBody(`{"n":1}`)
	w.eventually("the relay is ready", func() bool { // it may deliver rows of the table before that
		status, _ := w.get("http://" + listen + "/readyz")
		return status == 200
	})
}

func TestRelayWaitingAtStartStopsAtOnce(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.start("DATABASE_URL=postgres://127.0.0.1:1/x")
	p.awaitLog("event=start_retried")
	p.stop()
}

func TestUnavailablePeerHidesNoPermanentProblem(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.start("DATABASE_URL=postgres://127.0.0.1:1/x",
		"RELAY_DESTINATION=arn:aws:sns:us-east-1:000000000000:missing")
	if err := p.wait(); err == nil {
		t.Error("the relay ended without an error")
	}
	for _, problem := range []string{"DATABASE_URL", ":missing"} {
		if log := p.log.String(); !strings.Contains(log, problem) {
			t.Errorf("the relay does not name %s: %s", problem, log)
		}
	}
}

func TestMissingCredentialsAreReportedOnce(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	instance := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer instance.Close()
	output, err := w.command([]string{
		"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + instance.URL,
		"HOME=/nonexistent",
		"RELAY_ROUTES=event:a=arn:aws:sns:us-east-1:000000000000:a;event:b=http://127.0.0.1:1/000000000000/b",
		"AWS_REGION=",
	}, "check")
	if err == nil || strings.Count(output, "AWS credentials: there are none") != 1 {
		t.Errorf("%v: %s", err, output)
	}
	for _, text := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "role", "set AWS_REGION",
		`level=WARN msg="AWS SDK: `,
	} {
		if !strings.Contains(output, text) {
			t.Errorf("check does not say %s: %s", text, output)
		}
	}
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "SDK ") {
			t.Errorf("a line that is not of the relay's log: %s", line)
		}
	}
}

func TestNetworkCutDuringSlotCreationIsRetried(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testEnv, *faultproxy.Network, *faultproxy.Stop){
		"the request is lost": func(*testEnv, *faultproxy.Network, *faultproxy.Stop) {},
		"the answer is lost": func(w *testEnv, between *faultproxy.Network, creating *faultproxy.Stop) {
			between.Silence(faultproxy.Server)
			creating.Pass()
			w.eventually("the slot is created", func() bool {
				return w.query(`SELECT count(*)::text FROM pg_replication_slots
					WHERE slot_name = $1 AND confirmed_flush_lsn IS NOT NULL`, w.slot) == "1"
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			between, through := w.newNetwork()
			creating := between.HoldBack("CREATE_REPLICATION_SLOT")
			p := w.start("DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT=2s")
			w.await(creating)
			lose(w, between, creating)
			between.Forget()
			between.Mend()
			creating.Pass()
			p.awaitLog("event=streaming")
		})
	}
}

func TestSlowSlotCreationIsAwaited(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	open, err := w.pool.Begin(t.Context())
	w.must(err)
	defer open.Rollback(t.Context()) //nolint:errcheck // a rollback of a read
	_, err = open.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	w.must(err)
	listen := freeAddress(t)
	p := w.start("RELAY_WAL_SENDER_TIMEOUT=6s", "RELAY_LISTEN="+listen)
	p.awaitLog("event=slot_creating")
	w.awaitStatus(1, "older than the slot: the oldest is process ")
	p.awaitLog("event=snapshot_blocked") // after longer than the timeout
	if status, body := w.get("http://" + listen + "/readyz"); status != 503 ||
		!strings.Contains(body, "end these: process ") {
		t.Errorf("/readyz does not give the reason: %d %s", status, body)
	}
	if strings.Contains(p.log.String(), "event=session_ended") {
		t.Error("the relay timed out a busy server")
	}
	w.must(open.Rollback(t.Context()))
	p.awaitLog("event=streaming")
	w.eventually("the relay is ready", func() bool {
		status, body := w.get("http://" + listen + "/readyz")
		return status == 200 && !strings.Contains(body, "end these")
	})
}

// A retry cannot succeed, so the relay ends.
func TestPortInUseEndsTheRelay(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer inUse.Close()
	for _, env := range []string{"RELAY_START=", "DATABASE_URL=postgres://127.0.0.1:1/x"} {
		p := w.start("RELAY_LISTEN="+inUse.Addr().String(), env)
		if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "RELAY_LISTEN") {
			t.Errorf("the relay ended with %v: %s", err, p.log.String())
		}
	}
}
