package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// askInterval is how often the Caller asks for credentials, which nearly always are the same. The
// provider knows long before when they expire.
const askInterval = time.Second

// Endpoint names one AWS service and the sender of requests to it.
type Endpoint struct {
	URL         url.URL
	Service     string                  // in the scope of the signature
	Region      string                  // in the scope of the signature
	Credentials aws.CredentialsProvider // nil: requests are not signed
	Header      http.Header             // of every request
	AppID       string                  // in the user agent; may be empty
	// IgnoreClockSkew signs with the time of this machine, even if the service reports another one.
	IgnoreClockSkew bool
}

// Caller sends signed requests to one endpoint. It uses connections of its own, because net/http
// needs as much time for a request as everything else together. It uses net/http and the SDK's
// signer if a proxy is in between, or if the HTTP client is not the SDK's own.
type Caller struct {
	client   *Client
	endpoint Endpoint
	signer   *signer
	pool     *pool // nil: through net/http
	identity atomic.Pointer[identity]
	// nanoseconds by which the service's clock is ahead of this machine's
	skew atomic.Int64
	date atomic.Pointer[string] // the Date header that skew comes from
}

// NewCaller returns a Caller with the time limit, certificates and dialler of client. It shares the
// connections to the host with the other Callers of client.
func NewCaller(client *Client, endpoint Endpoint) *Caller {
	if endpoint.URL.Path == "" {
		endpoint.URL.Path = "/"
	}
	endpoint.Credentials = Credentials(endpoint.Credentials)
	endpoint.Header = endpoint.Header.Clone()
	endpoint.Header.Set("User-Agent", userAgent(endpoint.AppID))
	c := &Caller{client: client, endpoint: endpoint, signer: newSigner(endpoint)}
	if client.isDirect(&endpoint.URL) {
		c.pool = client.poolFor(&endpoint.URL)
	}
	return c
}

func userAgent(appID string) string {
	agent := "outbox-relay " + aws.SDKName + "/" + aws.SDKVersion
	if appID != "" {
		agent += " app/" + appID
	}
	return agent
}

// Post sends request once and reads its answer, whatever its status. Post owns request. An error
// means that the outcome is unknown. The time limit includes fetching credentials, because a relay
// that may publish now may not when they come late.
func (c *Caller) Post(ctx context.Context, request *Request) (*Answer, error) {
	deadline := time.Now().Add(c.client.timeout)
	id, err := c.identify(ctx, deadline)
	if err != nil {
		request.release()
		return nil, err
	}
	answer, err := c.send(ctx, deadline, id, request)
	if err != nil {
		return nil, err
	}
	if err := answer.decompress(); err != nil {
		answer.Release()
		return nil, c.explain(fmt.Errorf("read the answer: %w", err))
	}
	c.learnSkew(answer)
	if answer.Status >= http.StatusBadRequest { // the credentials may be the reason
		c.identity.Store(nil)
	}
	return answer, nil
}

func (c *Caller) send(ctx context.Context, deadline time.Time, id *identity, request *Request) (*Answer, error) {
	if c.pool == nil {
		return c.sendThroughClient(ctx, deadline, id, request)
	}
	connection, err := c.pool.get(ctx, deadline)
	if err != nil {
		request.release()
		return nil, c.explain(err)
	}
	connection.head = c.signer.appendHead(connection.head[:0], id, c.now(), request.body())
	begin, kept := time.Now(), !connection.idleAt.IsZero()
	answer, reusable, err := connection.exchange(ctx, deadline, request)
	if reusable {
		c.pool.put(connection)
	} else {
		connection.close()
	}
	switch {
	case errors.Is(err, sink.ErrConnectionClosed):
		// the other idle connections are probably closed too, so the next request dials
		c.pool.closeIdle()
	case kept && os.IsTimeout(err):
		c.pool.distrust(begin)
	}
	return answer, c.explain(err)
}

// explain names the peer in err.
func (c *Caller) explain(err error) error {
	if err == nil {
		return nil
	}
	return unanswered(&c.endpoint.URL, err)
}

// Answered returns err, the result of reading answer, with its origin. If it refuses the
// credentials, the next request fetches them again.
func (c *Caller) Answered(answer *Answer, err error) error {
	if err == nil {
		return nil
	}
	err = answered(c.endpoint.Service, c.endpoint.URL.Host, answer.Status, answer.Header(), err)
	invalidateRefused(c.endpoint.Credentials, err)
	return err
}

// sendThroughClient sends request through net/http. The SDK's signer writes to URL and header, so
// each request has its own.
func (c *Caller) sendThroughClient(
	ctx context.Context,
	deadline time.Time,
	id *identity,
	request *Request,
) (*Answer, error) {
	defer request.release()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	target := c.endpoint.URL
	r := &http.Request{
		Method: http.MethodPost, URL: &target, Host: target.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.endpoint.Header.Clone(), ContentLength: int64(len(request.body())), GetBody: request.open,
	}
	r.Body, _ = request.open()
	if id != nil {
		sum := sha256.Sum256(request.body())
		err := v4.NewSigner().SignHTTP(ctx, id.credentials, r, hex.EncodeToString(sum[:]), c.endpoint.Service,
			c.endpoint.Region, c.now())
		if err != nil {
			cancel()
			return nil, err
		}
	}
	response, err := c.client.send(ctx, cancel, r, request.wrote)
	if err != nil {
		return nil, err
	}
	answer := newAnswer()
	answer.Status, answer.header = response.StatusCode, response.Header
	body := bytes.NewBuffer(answer.Body)
	_, err = body.ReadFrom(response.Body)
	answer.Body = body.Bytes()
	if err := errors.Join(err, response.Body.Close()); err != nil {
		answer.Release()
		return nil, c.explain(fmt.Errorf("read the answer: %w", err))
	}
	return answer, nil
}

// identify returns the signer of the next request, or nil for unsigned requests.
func (c *Caller) identify(ctx context.Context, deadline time.Time) (*identity, error) {
	if c.endpoint.Credentials == nil {
		return nil, nil
	}
	now := c.now()
	known := c.identity.Load()
	if known != nil && time.Since(known.askedAt) < askInterval && known.isOn(now) {
		return known, nil
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	asked := time.Now()
	credentials, err := c.endpoint.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	id := c.signer.identity(credentials, now)
	id.askedAt = asked
	c.identity.Store(id)
	return id, nil
}

// now returns the service's time.
func (c *Caller) now() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }

// learnSkew stores the difference between the service's clock and this machine's, as the SDK does.
// The service refuses a signature that is more than five minutes off with RequestTimeTooSkewed, and
// accepts the next one. An answer from a cache has an Age, and its date is old.
func (c *Caller) learnSkew(answer *Answer) {
	said, dated := answer.value("Date")
	if _, cached := answer.value("Age"); cached || !dated || c.endpoint.IgnoreClockSkew {
		return
	}
	if known := c.date.Load(); known != nil && *known == string(said) { // within the same second
		return
	}
	date := string(said)
	if t, err := http.ParseTime(date); err == nil {
		c.skew.Store(int64(time.Until(t)))
		c.date.Store(&date)
	}
}
