package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestSignaturesAreThoseOfTheSDK compares every header of a signed request with the SDK's signer.
func TestSignaturesAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	hosts := rapid.SampledFrom([]string{
		"sqs.eu-central-1.amazonaws.com", "127.0.0.1:4566", "broker.example:443", "broker.example:80", "[::1]:4566",
	})
	credentials := rapid.Custom(func(t *rapid.T) aws.Credentials {
		return aws.Credentials{
			AccessKeyID:     rapid.StringMatching("[A-Z0-9]{16,20}").Draw(t, "access key"),
			SecretAccessKey: rapid.StringMatching("[A-Za-z0-9/+=]{1,80}").Draw(t, "secret"),
			SessionToken: rapid.OneOf(rapid.Just(""), rapid.StringMatching("[A-Za-z0-9/+=]{1,1000}")).Draw(t,
				"token"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		endpoint := Endpoint{
			URL: url.URL{
				Scheme: rapid.SampledFrom([]string{"http", "https"}).Draw(t, "scheme"), Host: hosts.Draw(t, "host"),
				Path: "/" + rapid.StringMatching(`[a-z ä%+*~()/!]{0,12}`).Draw(t, "path"),
			},
			Service: rapid.SampledFrom([]string{"sns", "sqs"}).Draw(t,
				"service"), Region: rapid.StringMatching("[a-z]{2}-[a-z]+-[1-9]").Draw(t, "region"),
			Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "User-Agent": {"outbox-relay"}},
		}
		if rapid.Bool().Draw(t, "with a target") {
			endpoint.Header["X-Amz-Target"] = []string{"AmazonSQS.SendMessageBatch"}
			endpoint.Header["X-Amzn-Query-Mode"] = []string{"true"}
		}
		who := credentials.Draw(t, "credentials")
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds"))
		// never empty, because the SDK omits no length
		body := []byte(rapid.StringN(1, 100, 400).Draw(t, "body"))
		s := newSigner(endpoint)
		id := s.identity(who, now)
		want := signedBySDK(t, endpoint, who, now, body)
		for range 2 { // the second time in reused memory
			if diff := cmp.Diff(want, readHead(t, s.appendHead(nil, id, now, body))); diff != "" {
				t.Fatalf("head of the SDK (-), own head (+):\n%s", diff)
			}
		}
	})
}

// signedBySDK returns the lines of a head.
func signedBySDK(t *rapid.T, endpoint Endpoint, who aws.Credentials, now time.Time, body []byte) map[string]string {
	r := &http.Request{
		Method: http.MethodPost, URL: &endpoint.URL, Header: endpoint.Header.Clone(),
		Host: endpoint.URL.Host, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewReader(body)),
	}
	sum := sha256.Sum256(body)
	err := v4.NewSigner().SignHTTP(context.Background(), who, r, hex.EncodeToString(sum[:]), endpoint.Service,
		endpoint.Region, now)
	if err != nil {
		t.Fatal(err)
	}
	var wire strings.Builder
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return readHead(t, []byte(wire.String()))
}

// readHead returns the request line under an empty name, and the headers.
func readHead(t *rapid.T, request []byte) map[string]string {
	text, _, complete := strings.Cut(string(request), "\r\n\r\n")
	if !complete {
		t.Fatalf("no end of the head: %q", request)
	}
	lines := strings.Split(text, "\r\n")
	head := map[string]string{"": lines[0]}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if _, twice := head[name]; twice {
			t.Fatalf("%s stands twice in %q", name, text)
		}
		head[name] = value
	}
	return head
}

func TestAnIdentityIsForOneDay(t *testing.T) {
	t.Parallel()
	night := time.Date(2026, 11, 26, 23, 59, 59, 0, time.UTC)
	id := newSigner(Endpoint{Service: "sqs", Region: "eu-central-1"}).identity(
		aws.Credentials{SecretAccessKey: "secret"}, night)
	if !id.isOn(night) || id.isOn(night.Add(time.Second)) {
		t.Errorf("the identity of %s counts then: %t, a second later: %t", night, id.isOn(night),
			id.isOn(night.Add(time.Second)))
	}
}

func BenchmarkSign(b *testing.B) {
	endpoint := Endpoint{
		URL: url.URL{
			Scheme: "https",
			Host:   "sqs.eu-central-1.amazonaws.com",
			Path:   "/",
		}, Service: "sqs", Region: "eu-central-1",
		Header: http.Header{
			"Content-Type": {"application/x-amz-json-1.0"},
			"X-Amz-Target": {"AmazonSQS.SendMessageBatch"},
		},
	}
	who := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: strings.Repeat("token", 200)}
	now, body := time.Now(), []byte(strings.Repeat("x", 7<<10))
	b.Run("own", func(b *testing.B) {
		s := newSigner(endpoint)
		id := s.identity(who, now)
		var head []byte
		b.ReportAllocs()
		for b.Loop() {
			head = s.appendHead(head[:0], id, now, body)
		}
	})
	b.Run("SDK", func(b *testing.B) {
		signer := v4.NewSigner()
		b.ReportAllocs()
		for b.Loop() {
			r := &http.Request{
				Method:        http.MethodPost,
				URL:           &endpoint.URL,
				Header:        endpoint.Header.Clone(),
				ContentLength: int64(len(body)),
			}
			sum := sha256.Sum256(body)
			err := signer.SignHTTP(b.Context(), who, r, hex.EncodeToString(sum[:]), endpoint.Service,
				endpoint.Region, now)
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestDateAndScopeAreOfOneDay: a request whose connection was made across midnight is signed with
// the new day's key.
func TestDateAndScopeAreOfOneDay(t *testing.T) {
	t.Parallel()
	s := newSigner(
		Endpoint{
			URL:     url.URL{Scheme: "https", Host: "sqs.eu-central-1.amazonaws.com", Path: "/"},
			Service: "sqs",
			Region:  "eu-central-1",
		},
	)
	credentials := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}
	evening := time.Date(2026, 11, 27, 23, 59, 59, 0, time.UTC)
	night := evening.Add(2 * time.Second)
	yesterday, today := s.identity(credentials, evening), s.identity(credentials, night)
	if yesterday.isOn(night) || !yesterday.isOn(evening) {
		t.Error("a key counts for another day than its own")
	}
	body := []byte("x")
	got, want := s.appendHead(nil, yesterday, night, body), s.appendHead(nil, today, night, body)
	if !bytes.Equal(got, want) || !bytes.Contains(got, []byte("AKID/20261128/")) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestAZoneStaysOnThisMachine: it is part of the dialled address, and has no meaning for the peer.
func TestAZoneStaysOnThisMachine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://[fe80::1%25eth0]:4566": "[fe80::1]:4566", "http://[fe80::1%25eth0]": "[fe80::1]",
		"https://[fe80::1%25eth0]:443": "[fe80::1]",
		"http://[fe80::1]:4566":        "[fe80::1]:4566", "http://broker:80": "broker",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := hostOf(u); got != want {
			t.Errorf("%s: host %q, want %q", text, got, want)
		}
	}
}
