package sinktest_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// redirector is an HTTP client that records the address of requests, and sends them to a test's
// server.
type redirector struct {
	server    string
	published string // address of the last publishing request
}

func (r *redirector) Do(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	target := request.Header.Get("X-Amz-Target")
	if strings.HasPrefix(string(body), "Action=PublishBatch") ||
		strings.HasSuffix(target, ".SendMessageBatch") || strings.HasSuffix(target, ".PutEvents") {
		_, scope, _ := strings.Cut(request.Header.Get("Authorization"),
			"/20") // of the credentials: day, region, service
		r.published = request.URL.String() + " host " + cmp.Or(request.Host,
			request.URL.Host) + " signed for" + scope[strings.Index(scope, "/"):strings.Index(scope, "/aws4_request")]
	}
	server, err := url.Parse(r.server)
	if err != nil {
		return nil, err
	}
	request.URL, request.Body = server, io.NopCloser(strings.NewReader(string(body)))
	return http.DefaultClient.Do(request)
}

func TestBothClientsGoToTheSameEndpoint(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc((&twins{answer: reply{status: http.StatusOK}}).serve))
	t.Cleanup(server.Close)
	fips := awsconfig.EnvConfig{UseFIPSEndpoint: aws.FIPSEndpointStateEnabled}
	dualStack := awsconfig.EnvConfig{UseDualStackEndpoint: aws.DualStackEndpointStateEnabled}
	for name, c := range map[string]struct {
		destination string
		sources     []any
		base        *string
		want        string
	}{
		"topic": {
			"arn:aws:sns:eu-central-1:123456789012:orders", nil, nil,
			"https://sns.eu-central-1.amazonaws.com/ host sns.eu-central-1.amazonaws.com signed for/eu-central-1/sns",
		},
		"queue": {
			"arn:aws:sqs:eu-central-1:123456789012:orders", nil, nil,
			"https://sqs.eu-central-1.amazonaws.com/ host sqs.eu-central-1.amazonaws.com signed for/eu-central-1/sqs",
		},
		"bus": {
			"arn:aws:events:eu-central-1:123456789012:event-bus/orders", nil, nil,
			"https://events.eu-central-1.amazonaws.com/ host events.eu-central-1.amazonaws.com " +
				"signed for/eu-central-1/events",
		},
		"bus, FIPS": {
			"arn:aws:events:us-east-1:123456789012:event-bus/orders",
			[]any{fips},
			nil,
			"https://events-fips.us-east-1.amazonaws.com/ host events-fips.us-east-1.amazonaws.com " +
				"signed for/us-east-1/events",
		},
		"China": {
			"arn:aws-cn:sns:cn-north-1:123456789012:orders", nil, nil,
			"https://sns.cn-north-1.amazonaws.com.cn/ host sns.cn-north-1.amazonaws.com.cn signed for/cn-north-1/sns",
		},
		"topic, FIPS": {
			"arn:aws:sns:us-east-1:123456789012:orders",
			[]any{fips},
			nil,
			"https://sns-fips.us-east-1.amazonaws.com/ host sns-fips.us-east-1.amazonaws.com signed for/us-east-1/sns",
		},
		"queue, FIPS": {
			"arn:aws:sqs:us-east-1:123456789012:orders",
			[]any{fips},
			nil,
			"https://sqs-fips.us-east-1.amazonaws.com/ host sqs-fips.us-east-1.amazonaws.com signed for/us-east-1/sqs",
		},
		"topic, dual-stack": {
			"arn:aws:sns:eu-central-1:123456789012:orders",
			[]any{dualStack},
			nil,
			"https://sns.eu-central-1.api.aws/ host sns.eu-central-1.api.aws signed for/eu-central-1/sns",
		},
		"queue, dual-stack": {
			"arn:aws:sqs:eu-central-1:123456789012:orders",
			[]any{dualStack},
			nil,
			"https://sqs.eu-central-1.api.aws/ host sqs.eu-central-1.api.aws signed for/eu-central-1/sqs",
		},
		"endpoint with a path": {
			"arn:aws:sns:eu-central-1:123456789012:orders", nil,
			aws.String("http://broker.example:4566/aws"),
			"http://broker.example:4566/aws host broker.example:4566 signed for/eu-central-1/sns",
		},
		"endpoint with the usual port": {
			"arn:aws:sqs:eu-central-1:123456789012:orders", nil,
			aws.String("https://broker.example:443"),
			"https://broker.example:443/ host broker.example signed for/eu-central-1/sqs",
		},
		"FIPS URL": {
			"https://sqs-fips.us-east-1.amazonaws.com/123456789012/orders", nil, nil,
			"https://sqs-fips.us-east-1.amazonaws.com/ host sqs-fips.us-east-1.amazonaws.com signed for/us-east-1/sqs",
		},
		"dual-stack URL": {
			"https://sqs.eu-central-1.api.aws/123456789012/orders", nil, nil,
			"https://sqs.eu-central-1.api.aws/ host sqs.eu-central-1.api.aws signed for/eu-central-1/sqs",
		},
		"FIPS and dual-stack URL": {
			"https://sqs-fips.us-east-1.api.aws/123456789012/orders", nil, nil,
			"https://sqs-fips.us-east-1.api.aws/ host sqs-fips.us-east-1.api.aws signed for/us-east-1/sqs",
		},
		"dual-stack URL in China": {
			"https://sqs.cn-north-1.api.amazonwebservices.com.cn/123456789012/orders", nil, nil,
			"https://sqs.cn-north-1.api.amazonwebservices.com.cn/ host sqs.cn-north-1.api.amazonwebservices.com.cn " +
				"signed for/cn-north-1/sqs",
		},
		"FIPS URL, dual-stack": {
			"https://sqs-fips.us-east-1.amazonaws.com/123456789012/orders",
			[]any{dualStack},
			nil,
			"https://sqs-fips.us-east-1.api.aws/ host sqs-fips.us-east-1.api.aws signed for/us-east-1/sqs",
		},
		"FIPS URL, endpoint": {
			"https://sqs-fips.us-east-1.amazonaws.com/123456789012/orders", nil,
			aws.String("http://broker.example:4566"),
			"http://broker.example:4566/ host broker.example:4566 signed for/us-east-1/sqs",
		},
		"URL with a port": {
			"https://sqs.eu-central-1.amazonaws.com:8443/123456789012/orders", nil, nil,
			"https://sqs.eu-central-1.amazonaws.com:8443/ host sqs.eu-central-1.amazonaws.com:8443 " +
				"signed for/eu-central-1/sqs",
		},
		"VPC endpoint": {
			"https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders",
			nil, nil, "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/ host " +
				"vpce-1.sqs.eu-west-1.vpce.amazonaws.com signed for/eu-west-1/sqs",
		},
	} {
		for _, client := range clients {
			dest, err := sink.ParseDestination(c.destination)
			if err != nil {
				t.Fatal(err)
			}
			to := &redirector{server: server.URL}
			cfg := aws.Config{
				Region: "us-west-2", BaseEndpoint: c.base, ConfigSources: c.sources, HTTPClient: to,
				Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
			}
			s, err := openWith(t.Context(), cfg, dest, sink.Options{Client: client})
			if err != nil {
				t.Fatalf("%s, %s: %v", name, client, err)
			}
			_, _ = s.Publish(t.Context(), batchOf(1)) // only the address matters
			if to.published != c.want {
				t.Errorf("%s, %s: to %s\nwant %s", name, client, to.published, c.want)
			}
		}
	}
}

// TestBothClientsUseConfiguredProxyAndCertificates: AWS_CA_BUNDLE and HTTPS_PROXY reach a
// sink as an HTTP client.
func TestBothClientsUseConfiguredProxyAndCertificates(t *testing.T) {
	t.Parallel()
	batch := batchOf(1)
	server := httptest.NewTLSServer(http.HandlerFunc((&twins{answer: success(sink.SQS, batch)}).serve))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	dest, err := sink.ParseDestination("arn:aws:sqs:eu-central-1:123456789012:orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range clients {
		for _, proxied := range []bool{false, true} {
			proxy, tunnels := startProxy(t)
			cfg := config(server.URL)
			cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
				tr.TLSClientConfig.RootCAs = roots
				tr.Proxy = func(*http.Request) (*url.URL, error) {
					if !proxied {
						return nil, nil
					}
					return proxy, nil
				}
			})
			s, err := openWith(t.Context(), cfg, dest, sink.Options{Client: client})
			if err != nil {
				t.Fatal(err)
			}
			before := tunnels.Swap(0)
			for range 2 { // the second on the connection of the first
				if results, err := s.Publish(t.Context(), batch); err != nil || results[0].Err != nil {
					t.Errorf("%s, proxy %t: %v, %v", client, proxied, results, err)
				}
			}
			if opened := before + tunnels.Load(); opened > 0 != proxied {
				t.Errorf("%s, proxy %t: %d tunnels through the proxy", client, proxied, opened)
			}
		}
	}
}

// startProxy returns a proxy for HTTPS, and the number of tunnels that it has opened. The proxy and
// its tunnels end with the test.
func startProxy(t *testing.T) (proxy *url.URL, tunnels *atomic.Int32) {
	t.Helper()
	tunnels = new(atomic.Int32)
	var open sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("the proxy was asked for %s %s", r.Method, r.URL)
			return
		}
		tunnels.Add(1)
		open.Add(1)
		defer open.Done()
		if err := tunnel(t.Context(), w, r.Host); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(open.Wait)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u, tunnels
}

// tunnel connects the client of w with host, until one of them closes its connection or ctx ends.
func tunnel(ctx context.Context, w http.ResponseWriter, host string) error {
	there, err := net.Dial("tcp", host)
	if err != nil {
		return err
	}
	defer there.Close()
	// The tunnel hijacks the connection before it answers the client. Otherwise the server would
	// read the first bytes of the client's handshake into a buffer of its own.
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer here.Close()
	defer context.AfterFunc(ctx, func() { _ = errors.Join(here.Close(), there.Close()) })()
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return err
	}
	var both sync.WaitGroup
	both.Go(func() { join(there, here) })
	both.Go(func() { join(here, there) })
	both.Wait()
	return nil
}

// join copies from src to dst, and closes both when src closes.
func join(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_ = errors.Join(dst.Close(), src.Close())
}
