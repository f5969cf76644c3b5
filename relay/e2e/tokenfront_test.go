package e2e_test

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// tokenFront is a proxy in front of a server without authentication. It asks for a password over
// TLS, as RDS asks for a token.
type tokenFront struct {
	port   int
	server string
	tls    *tls.Config

	mu     sync.Mutex
	logins []login
}

func newTokenFront(t *testing.T, server *pgtest.Server, authority pgtest.Authority) *tokenFront {
	t.Helper()
	certificate, err := tls.X509KeyPair(authority.Certificate("localhost", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	f := &tokenFront{
		port: listener.Addr().(*net.TCPAddr).Port, server: net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port())),
		tls: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = client.Close() })
			go f.serve(client)
		}
	}()
	return f
}

// serve authenticates a client and then passes on the traffic in both directions.
func (f *tokenFront) serve(plain net.Conn) {
	defer plain.Close()
	backend := pgproto3.NewBackend(plain, plain)
	if _, err := backend.ReceiveStartupMessage(); err != nil { // an SSLRequest or a CancelRequest
		return
	}
	if _, err := plain.Write([]byte("S")); err != nil {
		return
	}
	client := tls.Server(plain, f.tls)
	backend = pgproto3.NewBackend(client, client)
	message, err := backend.ReceiveStartupMessage()
	startup, ok := message.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	backend.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := backend.SetAuthType(pgproto3.AuthTypeCleartextPassword); err != nil || backend.Flush() != nil {
		return
	}
	answer, err := backend.Receive()
	password, ok := answer.(*pgproto3.PasswordMessage)
	if err != nil || !ok {
		return
	}
	f.mu.Lock()
	f.logins = append(f.logins, login{parameters: startup.Parameters, password: password.Password})
	f.mu.Unlock()
	f.pass(client, startup)
}

func (f *tokenFront) pass(client net.Conn, startup *pgproto3.StartupMessage) {
	server, err := net.Dial("tcp", f.server)
	if err != nil {
		return
	}
	defer server.Close()
	hello, err := startup.Encode(nil)
	if err != nil {
		return
	}
	if _, err := server.Write(hello); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// seen returns the logins since the last begin.
func (f *tokenFront) seen() []login {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.logins)
}

// begin returns the logins so far and forgets them.
func (f *tokenFront) begin() []login {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.logins
	f.logins = nil
	return seen
}

// nextSecond forgets the logins so far and returns the next full second. The time in a token has a
// resolution of one second.
func (f *tokenFront) nextSecond() time.Time {
	next := time.Now().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(next))
	f.begin()
	return next
}
