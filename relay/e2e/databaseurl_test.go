package e2e_test

import (
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestNoCommandPrintsAPartOfThePassword(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	for _, url := range []string{
		"postgres://outbox:hunter@2hunter/3@127.0.0.1/db",
		"postgres://outbox:1234/hunter?x@127.0.0.1/db",
	} {
		for _, command := range [][]string{
			{"check"},
			{"run"},
			{"status"},
			{"recover"},
			{"migrate"},
			{"dead-letters", "list"},
			{"replay", "--event-id=1"},
		} {
			output, err := w.command([]string{"DATABASE_URL=" + url}, command...)
			if err == nil || strings.Contains(output, "hunter") || !strings.Contains(output, "percent-encode it") {
				t.Errorf("relay %s with %s: %v: %s", command[0], url, err, output)
			}
		}
	}
}

// The SQLSTATE of this refusal is that of a transient error, so a relay that goes by the code would
// wait for ever.
func TestPoolerEndsTheRelay(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	pooler, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer pooler.Close()
	go func() {
		for {
			client, err := pooler.Accept()
			if err != nil {
				return
			}
			backend := pgproto3.NewBackend(client, client)
			if _, err := backend.ReceiveStartupMessage(); err == nil {
				backend.Send(&pgproto3.ErrorResponse{
					Severity: "FATAL", Code: "08P01",
					Message: "unsupported startup parameter: statement_timeout",
				})
				_ = backend.Flush()
			}
			_ = client.Close()
		}
	}()
	p := w.start("DATABASE_URL=postgres://outbox@" + pooler.Addr().String() + "/orders?sslmode=disable")
	if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "pooler") {
		t.Errorf("the relay ended with %v: %s", err, p.log.String())
	}
}
