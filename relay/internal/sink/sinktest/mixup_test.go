package sinktest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestAnswerOfAnEarlierRequestIsAnError, wherever answers are confused: the second request gets the
// answer to the first.
func TestAnswerOfAnEarlierRequestIsAnError(t *testing.T) {
	t.Parallel()
	for _, service := range services {
		for _, client := range clients {
			t.Run(fmt.Sprint(service, " ", client), func(t *testing.T) {
				t.Parallel()
				s := openBehind(t, service, client, repeatAnswer())
				if _, err := s.Publish(t.Context(), batchOf(2)); err != nil {
					t.Fatal(err)
				}
				results, err := s.Publish(t.Context(), batchOf(2))
				if err == nil || isRejected(err) || sink.Code(err) != "UnknownEntry" {
					t.Errorf("the answer to another request: %v, %v, want an error of the whole request", results, err)
				}
			})
		}
	}
}

// openBehind opens a destination of a fakeaws that is reached through between.
func openBehind(
	t *testing.T,
	service sink.Service,
	client sink.Client,
	between func(http.Handler) http.Handler,
) sink.Sink {
	t.Helper()
	broker := start(t)
	dest, err := sink.ParseDestination(create(t, broker, service, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(between(forwardTo(broker.URL())))
	t.Cleanup(proxy.Close)
	s, err := openWith(t.Context(), config(proxy.URL), dest,
		sink.Options{Client: client, RequestTimeout: requestTimeout})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// forwardTo forwards requests to the server at url.
func forwardTo(url string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := http.NewRequestWithContext(r.Context(), r.Method, url+r.URL.Path, r.Body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		request.Header, request.ContentLength = r.Header, r.ContentLength
		answer, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	})
}

// isPublish reports whether r publishes, and returns its body.
func isPublish(r *http.Request) (body string, publishes bool) {
	text, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(text)))
	target := r.Header.Get("X-Amz-Target")
	return string(text), strings.HasSuffix(target, ".SendMessageBatch") || strings.HasSuffix(target, ".PutEvents") ||
		strings.Contains(string(text), "Action=PublishBatch")
}

// repeatAnswer answers each request that publishes with the answer to the first of them.
func repeatAnswer() func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		var first *httptest.ResponseRecorder
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, publishes := isPublish(r); !publishes {
				next.ServeHTTP(w, r)
				return
			}
			if first == nil {
				first = httptest.NewRecorder()
				next.ServeHTTP(first, r)
			}
			w.WriteHeader(first.Code)
			_, _ = w.Write(first.Body.Bytes())
		})
	}
}
