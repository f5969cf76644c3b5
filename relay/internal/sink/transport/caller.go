package transport

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// Endpoint is where requests to one AWS service go, and who they are from.
type Endpoint struct {
	URL         url.URL
	Service     string                  // that the signature counts for
	Region      string                  // that the signature counts for
	Credentials aws.CredentialsProvider // nil: requests are not signed
	Header      http.Header             // of every request
	AppID       string                  // for the user agent; may be empty
	// IgnoreClockSkew signs with the time of this machine, even if the service says that it is wrong.
	IgnoreClockSkew bool
}

// Caller sends signed requests to one endpoint.
type Caller struct {
	client   *Client
	endpoint Endpoint
	signer   *v4.Signer
	template http.Request
	skew     atomic.Int64 // nanoseconds by which the service's clock is ahead of this machine's
}

// NewCaller returns a Caller that sends through client.
func NewCaller(client *Client, endpoint Endpoint) *Caller {
	if endpoint.URL.Path == "" {
		endpoint.URL.Path = "/"
	}
	endpoint.Header = endpoint.Header.Clone()
	endpoint.Header.Set("User-Agent", userAgent(endpoint.AppID))
	return &Caller{
		client:   client,
		endpoint: endpoint,
		signer:   v4.NewSigner(),
		template: http.Request{
			Method: http.MethodPost, Host: endpoint.URL.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		},
	}
}

func userAgent(appID string) string {
	agent := "outbox-relay " + aws.SDKName + "/" + aws.SDKVersion
	if appID != "" {
		agent += " app/" + appID
	}
	return agent
}

// Answer is what came back. Its Body is valid until Release.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte

	buffer *bytes.Buffer
}

var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Release gives the memory of the body back.
func (a *Answer) Release() { answers.Put(a.buffer) }

// Post sends request once and reads its answer, whatever its status. The error means that the outcome is unknown. Its time
// begins before credentials are fetched: a relay that may publish now may not when they come late.
func (c *Caller) Post(ctx context.Context, request *Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.client.timeout)
	r, err := c.sign(ctx, request)
	if err != nil {
		cancel()
		return Answer{}, err
	}
	response, err := c.client.send(ctx, cancel, r, request.wrote)
	if err != nil {
		return Answer{}, err
	}
	c.learnSkew(response.Header)
	return readAnswer(response)
}

func readAnswer(response *http.Response) (Answer, error) {
	buffer := answers.Get().(*bytes.Buffer)
	buffer.Reset()
	_, err := buffer.ReadFrom(response.Body)
	if closed := response.Body.Close(); err == nil {
		err = closed
	}
	if err != nil {
		answers.Put(buffer)
		return Answer{}, fmt.Errorf("read the answer: %w", err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: buffer.Bytes(), buffer: buffer}, nil
}

// sign makes an HTTP request of request. The signer writes to URL and header, so each request has its own.
func (c *Caller) sign(ctx context.Context, request *Request) (*http.Request, error) {
	r := c.template.WithContext(ctx)
	target := c.endpoint.URL
	r.URL = &target
	r.Header = make(http.Header, len(c.endpoint.Header)+3)
	for name, values := range c.endpoint.Header {
		r.Header[name] = values
	}
	r.ContentLength = int64(len(request.Body))
	r.Body, _ = request.open()
	r.GetBody = request.open
	if c.endpoint.Credentials == nil {
		return r, nil
	}
	credentials, err := c.endpoint.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	sum := sha256.Sum256(request.Body)
	now := time.Now().Add(time.Duration(c.skew.Load()))
	err = c.signer.SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), c.endpoint.Service, c.endpoint.Region, now)
	return r, err
}

// learnSkew notes how far the service's clock is from this machine's, as the SDK does: a signature that is more than five
// minutes off is refused with RequestTimeTooSkewed, and the next one is right. An answer from a cache has an Age and says
// nothing about now.
func (c *Caller) learnSkew(header http.Header) {
	if c.endpoint.IgnoreClockSkew || header.Get("Age") != "" {
		return
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		c.skew.Store(int64(time.Until(date)))
	}
}

// RefreshExpired has the next request fetch credentials anew if err says that the service took those of the last one for
// expired. The cache alone goes by the time that was promised, and by this machine's clock.
func RefreshExpired(credentials aws.CredentialsProvider, err error) {
	cache, cached := credentials.(interface{ Invalidate() })
	if code := sink.Code(err); cached && (code == "ExpiredToken" || code == "ExpiredTokenException") {
		cache.Invalidate()
	}
}

// Error returns err, which is what the service said in an answer that is no success, as the SDK would.
func (a *Answer) Error(requestID string, err error) error {
	return &awshttp.ResponseError{
		RequestID: cmp.Or(requestID, a.Header.Get("X-Amzn-Requestid")),
		ResponseError: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: a.Status, Header: a.Header}}, Err: err,
		},
	}
}
