package bench

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// startBroker returns the URL of a broker in this process.
func startBroker(t *testing.T, b *Broker) string {
	t.Helper()
	return "http://" + serve(t, b, func(l net.Listener) (net.Listener, error) { return l, nil })
}

// startSecureBroker is startBroker with TLS.
func startSecureBroker(t *testing.T, b *Broker, c certificate) string {
	t.Helper()
	return "https://" + serve(t, b, func(l net.Listener) (net.Listener, error) { return Secure(l, c.authority, c.key) })
}

func serve(t *testing.T, b *Broker, wrap func(net.Listener) (net.Listener, error)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if listener, err = wrap(listener); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	ctx := t.Context()
	go func() { ended <- b.Serve(ctx, listener) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// The SDK validates the answers and the checksum of each body.
func TestSDKAcceptsTheBrokerAsSQSAndSNS(t *testing.T) {
	t.Parallel()
	b := &Broker{Latency: time.Millisecond}
	url := startBroker(t, b)
	who := credentials.NewStaticCredentialsProvider("bench", "bench", "")
	queue := sqs.New(sqs.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: who})
	topic := sns.New(sns.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: who})
	var entries []types.SendMessageBatchRequestEntry
	var messages []snstypes.PublishBatchRequestEntry
	for i := range 10 {
		id, sequence := aws.String(fmt.Sprint(i)), aws.String(fmt.Sprint(100+i))
		body := aws.String(fmt.Sprintf(`{"n":%d,"text":"\\ \" ä\n"}`, i))
		entries = append(entries, types.SendMessageBatchRequestEntry{
			Id: id, MessageBody: body,
			MessageAttributes: map[string]types.MessageAttributeValue{
				"sequence": {DataType: aws.String("Number"), StringValue: sequence},
			},
		})
		messages = append(messages, snstypes.PublishBatchRequestEntry{
			Id: id, Message: body,
			MessageAttributes: map[string]snstypes.MessageAttributeValue{
				"sequence": {DataType: aws.String("Number"), StringValue: aws.String(fmt.Sprint(200 + i))},
			},
		})
	}
	sent, err := queue.SendMessageBatch(t.Context(),
		&sqs.SendMessageBatchInput{QueueUrl: aws.String(url + "/1/bench"), Entries: entries})
	if err != nil || len(sent.Successful) != 10 {
		t.Errorf("SQS: %v, %v", sent, err)
	}
	published, err := topic.PublishBatch(t.Context(),
		&sns.PublishBatchInput{TopicArn: aws.String(topicARN), PublishBatchRequestEntries: messages})
	if err != nil || len(published.Successful) != 10 {
		t.Errorf("SNS: %v, %v", published, err)
	}
	if c := b.Counts(); c.Requests != 2 || c.Events != 20 || c.Distinct != 20 || c.Last == 0 {
		t.Errorf("counted %+v", c)
	}
	for n, at := range b.Arrivals() {
		if n < 100 || n > 209 || at == 0 {
			t.Errorf("event %d arrived at %d", n, at)
		}
	}
}

// TestTheBrokerKeepsTheChecksumOfAnObject, with and without TLS, over which the SDK sends chunks.
// The SDK asks before it sends an object of two MiB.
func TestTheBrokerKeepsTheChecksumOfAnObject(t *testing.T) {
	t.Parallel()
	pair, err := newCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("x", 2<<20)
	for key, secure := range map[string]bool{"plain/1": false, "chunked/1": true} {
		b := &Broker{}
		url := startBroker(t, b)
		if secure {
			url = startSecureBroker(t, b, pair)
		}
		bucket := s3.New(s3.Options{
			Region: "us-east-1", BaseEndpoint: &url, UsePathStyle: true, HTTPClient: client,
			Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
		})
		_, err := bucket.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("large"), Key: &key, Body: strings.NewReader(content),
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(content))
		want := map[string]Object{key: {len(content), hex.EncodeToString(sum[:])}}
		if diff := cmp.Diff(want, b.Objects()); diff != "" {
			t.Errorf("want (-), got (+):\n%s", diff)
		}
	}
}

const topicARN = "arn:aws:sns:us-east-1:000000000000:bench"

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var all []time.Duration
	for n := range 1000 {
		all = append(all, time.Duration(n+1))
	}
	for p, want := range map[float64]time.Duration{50: 500, 99: 990, 99.9: 999, 100: 1000} {
		if got := percentile(all, p); got != want {
			t.Errorf("the %v. of 1 to 1000 is %d, want %d", p, got, want)
		}
	}
	if got := percentile([]time.Duration{7}, 99.9); got != 7 {
		t.Errorf("the 99.9. of one is %d", got)
	}
}

// results returns three rounds of a relay and the contestants it is compared with.
func results() []result {
	at := func(contestant, to string, perSecond float64) result {
		return result{
			Shape: oneRow.String(), Link: string(secured), Latency: near, Contestant: contestant, To: to,
			PerSecond: perSecond, Processor: 9, Peak: 50,
		}
	}
	all := []result{
		at("pg_recvlogical", "", 100), at(bySDK, "SQS", 60), at("relay", "SQS", 140), at("relay", "SQS FIFO", 120),
		at("pg_recvlogical", "", 110), at(bySDK, "SQS", 50), at("relay", "SQS", 150), at("relay", "SQS FIFO", 130),
		at("pg_recvlogical", "", 90), at(bySDK, "SQS", 55), at("relay", "SQS", 80), at("relay", "SQS FIFO", 90),
		at("pg_recvlogical", "", 100),
	}
	r := run{Options: Options{Relays: []string{"/bin/relay"}}}
	for i, m := range all {
		m.Round = i / 4
		m.OverSDK = r.overSDK(m)
		r.results = append(r.results, m)
		r.compare()
	}
	return r.results
}

func TestARatioRefersToFiguresOfTheSameRound(t *testing.T) {
	t.Parallel()
	r := run{Options: Options{Relays: []string{"/bin/new", "/bin/old"}}}
	for _, m := range []result{
		{PerSecond: 100, Contestant: "source"},
		{PerSecond: 150, Contestant: "new", To: "SQS"},
		{PerSecond: 120, Contestant: "old", To: "SQS"},
		{PerSecond: 200, Contestant: "source"},
		{PerSecond: 100, Contestant: "new", To: "SQS"},
		{PerSecond: 125, Contestant: "old", To: "SQS"},
		{PerSecond: 300, Contestant: "source"},
	} {
		r.results = append(r.results, m)
		r.compare()
	}
	var got []float64
	for _, m := range r.results {
		got = append(got, m.Ratio, m.OverLast)
	}
	want := []float64{1, 0, 1, 1.25, 0.8, 0, 1, 0, 0.4, 0.8, 0.5, 0, 1, 0}
	if !slices.Equal(got, want) {
		t.Errorf("the ratios are %v, want %v", got, want)
	}
}

func TestGoalsUseTheMedianOfTheWorstCase(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, g := range judge(medians(results()),
		[]delays{{PerSecond: 500, Settings: "[]", Latency: near, P99: 4 * time.Millisecond}}) {
		got[g.name] = fmt.Sprint(g.reached, " ", g.holds)
	}
	for name, want := range map[string]string{
		"drain, TLS: 1.0 x the source":         "1.33 true",
		"drain, TLS: spread of that ratio":     "0.49 false",
		"2 x the same over the SDK":            "2.33 true",
		"FIFO: 0.75 x standard":                "0.86 true",
		"TLS: µs of processor an event":        "9.0 true",
		"peak memory":                          "50 MB true",
		"500 events/s, broker 15 ms: p99 1 ms": "4ms false",
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
}

func TestARoundHasTheMeansOfItsDrains(t *testing.T) {
	t.Parallel()
	var all []result
	for i, perSecond := range []float64{10, 30, 50, 70, 1, 3} {
		m := result{Round: i / 2, Contestant: "relay", To: "SQS", PerSecond: perSecond, Ratio: perSecond / 10}
		all = append(all, m)
	}
	got := medians(all)
	if len(got) != 1 || got[0].PerSecond != 20 || got[0].Slowest != 2 || got[0].Ratio != 2 || got[0].Spread != 2.9 {
		t.Errorf("the rounds 20, 60 and 2 are summed up as %+v", got)
	}
}

func TestChartIsWellFormed(t *testing.T) {
	t.Parallel()
	chart := drawChart(medians(results()), "a machine & its <cores>")
	if strings.Count(chart, "<rect") != 5 { // one is the background
		t.Errorf("%d rectangles for 4 bars", strings.Count(chart, "<rect"))
	}
	for decoder := xml.NewDecoder(strings.NewReader(chart)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// The benchmark does not wait for the events of a relay that has ended.
func TestFailingRelayEndsTheBenchmark(t *testing.T) {
	t.Parallel()
	process, err := procgroup.Start(exec.Command("false"), procgroup.Orphan{})
	if err != nil {
		t.Fatal(err)
	}
	p := &relay{process: process, listen: "127.0.0.1:1"}
	_, err = p.watch(t.Context(), &broker{url: startBroker(t, &Broker{})}, 4)
	if err == nil || !strings.Contains(err.Error(), "the relay ended") {
		t.Errorf("the benchmark ends with %v", err)
	}
}
