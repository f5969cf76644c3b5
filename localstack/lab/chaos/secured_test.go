package chaos

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// The client of a connection over TLS sees how the server behind it ends it, after every byte.
func TestTLSEndsAsTheConnectionBehindIt(t *testing.T) {
	t.Parallel()
	keys, err := pgtest.NewKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(keys.Certificate)
	for name, end := range map[string]func(net.Conn){
		"closed": func(c net.Conn) { _ = c.Close() },
		"reset":  reset,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			proxy, err := newTerminator(server.Addr().String(), keys)
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.close()
			client, err := tls.Dial("tcp", proxy.listener.Addr().String(), &tls.Config{RootCAs: authority})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			behind, err := server.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := behind.Write([]byte("answer")); err != nil {
				t.Fatal(err)
			}
			said := make([]byte, len("answer"))
			if _, err := io.ReadFull(client, said); err != nil || string(said) != "answer" {
				t.Fatalf("received %q, %v", said, err)
			}
			end(behind)
			_ = client.SetReadDeadline(time.Now().Add(time.Minute))
			_, err = client.Read(said)
			if orderly := errors.Is(err, io.EOF); orderly != (name == "closed") {
				t.Errorf("the client reads %v", err)
			}
			if !proxy.isUsed() {
				t.Error("the client is not counted")
			}
		})
	}
}
