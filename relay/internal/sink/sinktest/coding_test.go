package sinktest_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// compressed returns answer as a proxy compresses it.
func compressed(answer reply) reply {
	answer.header = map[string]string{"Content-Encoding": "gzip"}
	answer.coded = func(body string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(body)) // a buffer accepts all bytes
		_ = w.Close()
		return b.String()
	}
	return answer
}

// TestACompressedAnswerIsRead: a proxy may compress answers, asked or not.
func TestACompressedAnswerIsRead(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, service sink.Service, fifo bool) {
		w := openTwins(t, service, fifo)
		batch := batchOf(3)
		refused := result{ID: placeholder(2), Code: "InvalidMessageContents", Message: "no"}
		taken := []result{accepted(batch, 0), accepted(batch, 1)}
		tooLarge := result{
			Code: "HTTP 413", Message: "HTTP 413 from " + w.host + ", not " + service.Name(),
		}
		for name, c := range map[string]struct {
			answer reply
			want   []string
		}{
			"accepted":      {success(service, batch), []string{"", "", "", ""}},
			"refused entry": {answerOf(service, taken, []result{refused}), []string{"", "", "", rejection(refused)}},
			"error":         {errorOf(service, "Throttling"), []string{"Throttling"}},
			"too large":     {reply{status: 413, body: "<html>"}, []string{rejection(tooLarge)}},
			"bad gateway":   {reply{status: 502, body: "<html>"}, []string{"HTTP 502"}},
		} {
			_, outcomes := w.publish(t, batch, compressed(c.answer))
			for client, got := range outcomes {
				if strings.Join(got, "|") != strings.Join(c.want, "|") {
					t.Errorf("%s, %s: %q, want %q", client, name, got, c.want)
				}
			}
		}
	})
}

// rejection is [describe] of the refusal r.
func rejection(r result) string { return "rejected for good: " + r.Code + ": " + r.Message }

// errorOf returns an error of service with this code.
func errorOf(service sink.Service, code string) reply {
	body := `{"__type":"` + code + `","message":"slow"}`
	if service == sink.SNS {
		body = "<ErrorResponse><Error><Code>" + code + "</Code><Message>slow</Message></Error></ErrorResponse>"
	}
	return reply{status: http.StatusBadRequest, body: body}
}

// TestADecompressedAnswerIsBounded: a compressed answer may be a thousand times as long as it
// arrives.
func TestADecompressedAnswerIsBounded(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, service sink.Service, fifo bool) {
		w := openTwins(t, service, fifo)
		long := success(service, batchOf(1))
		long.body += strings.Repeat(" ", 8<<20)
		for client, s := range w.sinks {
			w.answerWith(compressed(long))
			if results, err := s.Publish(t.Context(), batchOf(1)); err == nil || isRejected(err) {
				t.Errorf("%s: %v, %v, want an error that is worth another attempt", client, results, err)
			}
		}
	})
}

// TestAnUnreadableCodingNamesItsCure: the error names the coding, the host and the fix.
func TestAnUnreadableCodingNamesItsCure(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, service sink.Service, fifo bool) {
		w := openTwins(t, service, fifo)
		for client, s := range w.sinks {
			w.answerWith(reply{
				status: http.StatusOK,
				header: map[string]string{"Content-Encoding": "br"},
				body:   "\x8b\x03\x80 no text",
			})
			_, err := s.Publish(t.Context(), batchOf(1))
			failure, ok := errors.AsType[*sink.Error](err)
			if !ok || failure.Origin != sink.OriginTransport {
				t.Fatalf("%s: %v, want an error of the transport", client, err)
			}
			for _, words := range []string{"encoded as br", "compression", w.host} {
				if !strings.Contains(failure.Error(), words) || !strings.Contains(failure.Reason, words) {
					t.Errorf("%s: %v (%s) does not say %q", client, failure, failure.Reason, words)
				}
			}
		}
	})
}
