package preflight_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

func TestServerWithoutAWalsenderIsNamed(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{
		Settings: map[string]string{"wal_level": "logical", "max_wal_senders": "1"},
	})
	e := newTestEnvOn(t, server.URL("postgres", pgtest.Superuser))
	e.expectSound()
	busy, err := pgconn.Connect(t.Context(), e.url+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close(t.Context())
	all := e.check()
	expect(t, all, preflight.CodeReplication, preflight.Error, "max_wal_senders", "ALTER SYSTEM SET max_wal_senders "+
		"= 10;")
	if last := all[len(all)-1]; last.Code == preflight.CodeReplication {
		t.Error("the check ended with the replication connection, and the server answers")
	}
	if !preflight.OnlyTransient(all.Err()) {
		t.Error("a walsender may become free, and the relay would not wait for one")
	}
}

func TestServerThatRefusesReplicationIsNamed(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{Settings: map[string]string{"wal_level": "logical"}})
	e := newTestEnvOn(t, server.URL("postgres", pgtest.Superuser))
	e.exec(`CREATE ROLE r LOGIN REPLICATION; ALTER TABLE ev OWNER TO r; GRANT ALL ON ALL TABLES IN SCHEMA public TO r`)
	if err := server.Authenticate(t.Context(), "host postgres r 127.0.0.1/32 trust"); err != nil {
		t.Fatal(err)
	}
	for _, f := range e.checkAs(server.URL("postgres", "r")) {
		if f.Level != preflight.OK {
			t.Errorf("%s %s", f.Level, f)
		}
	}
	err := server.Authenticate(t.Context(),
		"host postgres another 127.0.0.1/32 trust\nhost replication r 127.0.0.1/32 trust")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, e.checkAs(server.URL("postgres", "r")), preflight.CodeDatabase, preflight.Error, "pg_hba.conf")
}

// TestPoolersAreNamed: a pooler shows in its errors, or in a process id other than the announced
// one.
func TestPoolersAreNamed(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	isReplication := func(startup map[string]string) bool { return startup["replication"] != "" }
	type startup = map[string]string
	refuse := func(code, message string, which func(startup) bool) func(startup) *pgproto3.ErrorResponse {
		return func(startup map[string]string) *pgproto3.ErrorResponse {
			if which != nil && !which(startup) {
				return nil
			}
			return &pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: message}
		}
	}
	for name, p := range map[string]pooler{
		"PgBouncer by default": {refuse: refuse("08P01", "unsupported startup parameter: statement_timeout", nil)},
		"replication refused":  {refuse: refuse("08P01", "unsupported startup parameter: replication", isReplication)},
		"RDS Proxy": {refuse: refuse("0A000",
			"Feature not supported: RDS Proxy currently doesn\u2019t support streaming replication "+
				"mode", isReplication)},
		"other processes":              {otherPID: func(startup) bool { return true }},
		"other processes answer":       {otherPID: func(s startup) bool { return !isReplication(s) }},
		"other processes replicate":    {otherPID: isReplication},
		"replication is not passed on": {withoutReplication: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			through := p.start(t, e.url)
			all := e.checkAs(through)
			expect(t, all, preflight.CodePooler, preflight.Error, "pooler", "the server's own address")
			if preflight.OnlyTransient(all.Err()) {
				t.Error("the relay would wait for a pooler")
			}
		})
	}
}

// pooler is a proxy between clients and a server that behaves like a connection pooler.
type pooler struct {
	refuse             func(startup map[string]string) *pgproto3.ErrorResponse
	otherPID           func(startup map[string]string) bool // announces another process id than the server's
	withoutReplication bool                                 // drops the parameter
}

// start returns the URL of the database behind the pooler.
func (p pooler) start(t *testing.T, database string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	server := address.Host
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client, server)
		}
	}()
	address.Host = listener.Addr().String()
	return address.String()
}

func (p pooler) serve(client net.Conn, address string) {
	defer client.Close()
	backend := pgproto3.NewBackend(client, client)
	message, err := backend.ReceiveStartupMessage()
	startup, ok := message.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	if p.refuse != nil {
		if refusal := p.refuse(startup.Parameters); refusal != nil {
			backend.Send(refusal)
			_ = backend.Flush()
			return
		}
	}
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	other := p.otherPID != nil && p.otherPID(startup.Parameters)
	if p.withoutReplication {
		delete(startup.Parameters, "replication")
		delete(startup.Parameters, "wal_sender_timeout")
	}
	frontend := pgproto3.NewFrontend(server, server)
	frontend.Send(startup)
	if frontend.Flush() != nil {
		return
	}
	go passOn(server, client)
	for {
		message, err := frontend.Receive()
		if err != nil {
			return
		}
		if key, ok := message.(*pgproto3.BackendKeyData); ok && other {
			key.ProcessID++
		}
		backend.Send(message)
		if backend.Flush() != nil {
			return
		}
	}
}

func passOn(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func TestPasswordIsInNoFinding(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	address, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(pgtest.Role, "hunter2")
	for _, u := range []string{
		address.String(), "postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@nowhere.invalid/x",
	} {
		for _, f := range e.checkAs(u) {
			if strings.Contains(f.String(), "hunter2") {
				t.Errorf("%s", f)
			}
		}
	}
}
