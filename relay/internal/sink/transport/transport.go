// Package transport is the HTTP client below both sinks: many requests in flight to one host, each bounded in time and
// in the size of its answer.
package transport

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const (
	// defaultRequestTimeout: the SDK's own client has none, so that a silent peer would hold a message group for ever.
	defaultRequestTimeout = 10 * time.Second
	defaultInFlight       = 10

	// maxAnswer is far above the longest answer to a batch of ten (about 5 KB) and to a read of attributes, of which an
	// access policy is the longest (30 KB).
	maxAnswer = 1 << 20
)

// Client returns cfg's HTTP client, bounded by opts. A client of another kind than the SDK's own keeps its connections as
// it likes; its answers are bounded all the same.
func Client(cfg aws.Config, opts sink.Options) aws.HTTPClient {
	inner := cfg.HTTPClient
	if inner == nil {
		inner = awshttp.NewBuildableClient()
	}
	if buildable, ok := inner.(*awshttp.BuildableClient); ok {
		inFlight := cmp.Or(opts.InFlight, defaultInFlight)
		inner = buildable.
			WithTimeout(cmp.Or(opts.RequestTimeout, defaultRequestTimeout)).
			WithTransportOptions(func(t *http.Transport) {
				t.MaxIdleConnsPerHost = inFlight
				t.MaxIdleConns = max(t.MaxIdleConns, 2*inFlight)
			})
	}
	return bounded{inner}
}

// bounded ends an answer that does not end by itself.
type bounded struct{ aws.HTTPClient }

func (b bounded) Do(r *http.Request) (*http.Response, error) {
	answer, err := b.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &limitedBody{ReadCloser: answer.Body, left: maxAnswer}
	return answer, nil
}

type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
