package sinktest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestIdleConnectionsOfAProxyFailNothing: a forward proxy closes each connection when its second or
// third request comes, as at the end of its idle time. Several requests are in flight, so other
// connections that are about to be closed become idle between a request and its repetition.
func TestIdleConnectionsOfAProxyFailNothing(t *testing.T) {
	t.Parallel()
	for _, proxied := range []bool{true, false} {
		for arn := range eachARN {
			for _, client := range clients {
				t.Run(fmt.Sprint(serviceOf(t, arn), " ", client, " proxy ", proxied), func(t *testing.T) {
					t.Parallel()
					publishFromMany(t, openAtHasty(t, arn, client, proxied))
				})
			}
		}
	}
}

func publishFromMany(t *testing.T, s sink.Sink) {
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for range 25 {
				if err := publishTwice(t, s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
}

// publishTwice publishes as delivery does: a request whose connection was closed is repeated on a
// new one.
func publishTwice(t *testing.T, s sink.Sink) error {
	_, err := s.Publish(t.Context(), batchOf(1))
	if errors.Is(err, sink.ErrConnectionClosed) {
		_, err = s.Publish(sink.OnNewConnection(t.Context()), batchOf(1))
	}
	return err
}

// openAtHasty opens the destination behind a hasty peer: a forward proxy, or the broker itself.
func openAtHasty(t *testing.T, arn string, client sink.Client, proxied bool) sink.Sink {
	t.Helper()
	broker := &twins{answer: success(serviceOf(t, arn), batchOf(1))}
	peer := hasty(t, http.HandlerFunc(broker.serve))
	cfg := config("http://broker.internal")
	if !proxied {
		cfg = config(peer.String())
	}
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.Proxy = nil
		if proxied {
			tr.Proxy = http.ProxyURL(peer)
		}
	})
	dest, err := sink.ParseDestination(arn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openWith(t.Context(), cfg, dest, sink.Options{Client: client, InFlight: 8})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func serviceOf(t *testing.T, arn string) sink.Service {
	t.Helper()
	dest, err := sink.ParseDestination(arn)
	if err != nil {
		t.Fatal(err)
	}
	return dest.Service
}

// hasty starts a peer that answers one or two requests on a connection, and closes it when the next
// one comes.
func hasty(t *testing.T, handler http.Handler) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	serving.Go(func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			serving.Go(func() { serveSome(conn, handler, 1+n%2) })
		}
	})
	return &url.URL{Scheme: "http", Host: listener.Addr().String()}
}

// serveSome answers so many requests on conn, reads one more and closes conn.
func serveSome(conn net.Conn, handler http.Handler, requests int) {
	defer conn.Close()
	for reader, n := bufio.NewReader(conn), 0; ; n++ {
		r, err := http.ReadRequest(reader)
		if err != nil || n == requests {
			return
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		_, _ = io.Copy(io.Discard, r.Body)
		whole := answer.Result()
		whole.ContentLength = int64(answer.Body.Len())
		_ = whole.Write(conn)
	}
}
