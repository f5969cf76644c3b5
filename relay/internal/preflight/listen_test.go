package preflight_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

func TestAddressThatCannotBeListenedOnIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	check := func(address string) preflight.Findings {
		return preflight.Listener{Address: address}.Check(t.Context(), preflight.Progress{})
	}
	for address, says := range map[string]string{
		taken.Addr().String(): "is in use", ":99999": "99999", "localhost": "missing port",
	} {
		found := check(address)
		expect(t, found, preflight.CodeListen, preflight.Error, "RELAY_LISTEN", says)
		if preflight.OnlyTransient(found.Err()) {
			t.Errorf("%s: the relay would wait for the address", address)
		}
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if found := check(taken.Addr().String()); found.Err() != nil {
		t.Errorf("an address that is free again: %v", found)
	}
}

// TestOnlyTheRelayOfTheSlotMayListen: the relay of another slot or database keeps this one from
// its start.
func TestOnlyTheRelayOfTheSlotMayListen(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`INSERT INTO relay_instances (slot_name, instance, started_at, report) VALUES
		('relay_check', 'a', now(), '{}'), ('other', 'b', now(), '{}')`)
	pool, err := pgxpool.New(t.Context(), e.url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for name, c := range map[string]struct {
		answer, says string
		level        preflight.Level
	}{
		"same": {
			`{"state":"streaming","slot":"relay_check","instance":"a"}`, "the relay of this slot", preflight.OK,
		},
		"other slot": {
			`{"state":"streaming","slot":"other","instance":"b"}`, "by the relay of slot other", preflight.Error,
		},
		"other database": {
			`{"state":"standby","slot":"relay_check","instance":"c"}`, "to this database", preflight.Error,
		},
		"silent":   {`{"state":"streaming"}`, "does not name its slot", preflight.Error},
		"no relay": {`{}`, "end the process", preflight.Error},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(c.answer))
		}))
		l := preflight.Listener{Address: server.Listener.Addr().String(), Slot: "relay_check", Pool: pool}
		found := l.Check(t.Context(), preflight.Progress{})
		server.Close()
		if found.Level() != c.level || !strings.Contains(found[0].Explanation, c.says) {
			t.Errorf("%s: %v", name, found)
		}
	}
}
