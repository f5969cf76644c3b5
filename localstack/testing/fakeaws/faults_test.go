package fakeaws_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// send sends one message to q, and returns the code of the error.
func (f fake) send(t *testing.T, q fakeaws.Queue) string {
	t.Helper()
	if _, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl:    &q.URL,
		MessageBody: aws.String("m"),
	}); err != nil {
		return code(err)
	}
	return ""
}

func (f fake) tell(t *testing.T, topic string) string {
	t.Helper()
	if _, err := f.sns.Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: aws.String("m")}); err != nil {
		return code(err)
	}
	return ""
}

func TestAQuotaRefusesWhatIsAboveIt(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q, other, topic := f.queue(t, "q", nil), f.queue(t, "other", nil), f.topic(t, "t", nil)
	const hourly = 1.0 / 3600
	quota := fakeaws.NewQuota(hourly, 2)
	rule := f.Script(fakeaws.Match{}, fakeaws.Limit(quota, false))
	var got []string
	for range 3 {
		got = append(got, f.send(t, q), f.tell(t, topic))
	}
	if want := ",,,,ThrottlingException,Throttling"; strings.Join(got, ",") != want || quota.Refused() != 2 {
		t.Errorf("%q, and %d refused", got, quota.Refused())
	}
	if got := f.send(t, other); got != "" {
		t.Errorf("another destination has the same bucket: %s", got)
	}
	quota.Set(1e9, 1)
	if got := f.send(t, q); got != "" {
		t.Errorf("a quota that was raised: %s", got)
	}
	quota.Set(hourly, 1)
	f.send(t, q)
	rule.Clear()
	f.Script(fakeaws.Match{}, fakeaws.Limit(quota, true))
	if got := f.send(t, q); got != "RequestThrottled" {
		t.Errorf("the older refusal: %q", got)
	}
	if quota.Set(0, 0); f.send(t, q) != "" {
		t.Error("a quota that was lifted refuses")
	}
}

func TestAPageTakesThePlaceOfAnAnswer(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "q", nil)
	for i, fault := range []fakeaws.Fault{
		fakeaws.ShowPage(fakeaws.HTML(502)),
		fakeaws.ShowPageAfterAccept(fakeaws.HTML(502)),
	} {
		rule := f.Script(fakeaws.Match{}, fault)
		if got := f.send(t, q); got == "" {
			t.Error("a page is taken for an answer")
		}
		rule.Clear()
		if n := f.ReceivedCount(q.ARN); n != i {
			t.Errorf("%d messages are accepted, want %d", n, i)
		}
	}
	var refused atomic.Int64
	f.Script(fakeaws.Match{}, fakeaws.LimitBody(400, &refused))
	_, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl:    &q.URL,
		MessageBody: aws.String(strings.Repeat("x", 400)),
	})
	if err == nil || f.send(t, q) != "" || refused.Load() != 1 {
		t.Errorf("a long body: %v, %d refused", err, refused.Load())
	}
}

func TestPagesAreShownInTurn(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "q", nil)
	f.Script(fakeaws.Match{}, fakeaws.ShowPage(fakeaws.HTML(502), fakeaws.HTML(403)))
	for i, want := range []int{502, 403, 502} {
		_, err := f.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: aws.String("m")})
		var answer *awshttp.ResponseError
		if !errors.As(err, &answer) || answer.HTTPStatusCode() != want {
			t.Errorf("request %d: %v, want status %d", i, err, want)
		}
	}
}

// TestAnEarlyAnswerComesBeforeTheRequestEnds: the rest of the body is sent only once the answer was
// read.
func TestAnEarlyAnswerComesBeforeTheRequestEnds(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	rule := f.Script(fakeaws.Match{}, fakeaws.AnswerEarly(1, fakeaws.HTML(503), true))
	body, rest := io.Pipe()
	defer rest.Close()
	go func() { _, _ = rest.Write([]byte("{")) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL(), body)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = 1 << 20
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	is503 := response.StatusCode == http.StatusServiceUnavailable
	if err != nil || !is503 || !bytes.Contains(text, []byte("nginx")) || rule.Hits() != 1 {
		t.Errorf("%v %q, %v, %d hits", response.Status, text, err, rule.Hits())
	}
}

// batch sends one message with this id, and returns the ids in the answer.
func (f fake) batch(ctx context.Context, q fakeaws.Queue, id string) string {
	answer, err := f.sqs.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{
		QueueUrl: &q.URL, Entries: []sqstypes.SendMessageBatchRequestEntry{{Id: &id, MessageBody: aws.String("m")}},
	})
	if err != nil {
		return err.Error()
	}
	return *answer.Successful[0].Id
}

func TestAnAnswerOfAnotherRequestNamesItsEntries(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "q", nil)
	rule := f.Script(fakeaws.Match{}, fakeaws.CacheAnswers())
	if first, second := f.batch(t.Context(), q, "a"), f.batch(t.Context(), q, "b"); first != "a" || second != "a" ||
		f.ReceivedCount(q.ARN) != 1 {
		t.Errorf("cached: %s and %s, %d accepted", first, second, f.ReceivedCount(q.ARN))
	}
	rule.Clear()
	f.Script(fakeaws.Match{}, fakeaws.SwapAnswers())
	if alone := f.batch(t.Context(), q, "a"); alone != "a" {
		t.Errorf("alone: %s", alone)
	}
	eventually(t, "two answers are swapped", func() bool {
		var a, b string
		var both sync.WaitGroup
		both.Go(func() { a = f.batch(t.Context(), q, "a") })
		both.Go(func() { b = f.batch(t.Context(), q, "b") })
		both.Wait()
		return a == "b" && b == "a"
	})
}

func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestAClockThatIsWrongRefusesSignatures(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "q", nil)
	for skew, want := range map[time.Duration]string{
		time.Hour:  "SignatureDoesNotMatch",
		-time.Hour: "SignatureDoesNotMatch", time.Minute: "",
	} {
		rule := f.Script(fakeaws.Match{}, fakeaws.SkewClock(skew))
		fresh := sqs.New(f.sqs.Options()) // that knows nothing of the service's clock
		_, err := fresh.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: aws.String("m")})
		if got := code(err); err != nil && got != want || err == nil && want != "" {
			t.Errorf("%v: %v", skew, err)
		}
		if _, err := fresh.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl:    &q.URL,
			MessageBody: aws.String("m"),
		}); err != nil {
			t.Errorf("%v, with the time of the answer before: %v", skew, err)
		}
		rule.Clear()
	}
}

// roles returns an issuer and providers of its credentials, in both ways.
func roles(t *testing.T) (*fakeaws.Issuer, map[string]aws.CredentialsProvider) {
	t.Helper()
	issuer, err := fakeaws.StartIssuer(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	profile := filepath.Join(t.TempDir(), "config")
	text := "[default]\nrole_arn = arn:aws:iam::000000000000:role/relay\nrole_session_name = " +
		"me\nweb_identity_token_file = " + profile + "\n"
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigFiles([]string{profile}),
		config.WithRegion("us-east-1"),
		config.WithBaseEndpoint(issuer.URL()), config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		t.Fatal(err)
	}
	return issuer, map[string]aws.CredentialsProvider{
		"STS": cfg.Credentials,
		"container": endpointcreds.New(issuer.ContainerURL("me"),
			func(o *endpointcreds.Options) { o.Retryer = aws.NopRetryer{} }),
	}
}

func TestTheIssuerHandsOutCredentialsInBothWays(t *testing.T) {
	t.Parallel()
	issuer, ways := roles(t)
	for name, way := range ways {
		issuer.Script(fakeaws.RefuseRole(400, "ValidationError",
			"The requested DurationSeconds exceeds the MaxSessionDuration"))
		if _, err := way.Retrieve(t.Context()); code(err) != "ValidationError" || issuer.Hits() != 1 {
			t.Errorf("%s: %v, %d hits", name, err, issuer.Hits())
		}
		issuer.Script(fakeaws.HideRole(fakeaws.HTML(200)))
		if _, err := way.Retrieve(t.Context()); err == nil {
			t.Errorf("%s: a page has credentials", name)
		}
		issuer.Script(fakeaws.IssuerFault{})
		got, err := way.Retrieve(t.Context())
		if err != nil || got.AccessKeyID != "me" || got.SecretAccessKey == "" ||
			time.Until(got.Expires) < 30*time.Minute {
			t.Errorf("%s: %v, %v", name, got.AccessKeyID, err)
		}
	}
}

func TestATokenThatHasExpiredIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, fakeaws.Options{})
	q := f.queue(t, "q", nil)
	issuer, ways := roles(t)
	f.Script(fakeaws.Match{}, fakeaws.ExpireTokens(issuer.HasExpired))
	send := func(credentials aws.Credentials) string {
		options := f.sqs.Options()
		options.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials,
			error,
		) {
			return credentials, nil
		})
		return fake{f.Server, nil, sqs.New(options)}.send(t, q)
	}
	issue := func() aws.Credentials {
		credentials, err := ways["container"].Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return credentials
	}
	old := issue()
	if got := send(old); got != "" {
		t.Errorf("a new token: %s", got)
	}
	issuer.Expire()
	if got, renewed := send(old), send(issue()); got != "ExpiredToken" || renewed != "" {
		t.Errorf("an expired token: %q, its successor: %q", got, renewed)
	}
	issuer.Script(fakeaws.ExpireRole())
	if got := send(issue()); got != "ExpiredToken" {
		t.Errorf("a token that is handed out too late: %q", got)
	}
	if got := f.send(t, q); got != "" {
		t.Errorf("credentials without a token: %s", got)
	}
}
