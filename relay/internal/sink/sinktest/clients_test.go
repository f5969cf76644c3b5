package sinktest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// twins are the same destination, opened once for each client, at a server that records their
// requests and answers as a test says.
type twins struct {
	host  string // of the server
	sinks map[sink.Client]sink.Sink

	mu       sync.Mutex
	answer   reply
	requests []recorded
}

// reply is an answer to a request that publishes.
type reply struct {
	status int
	header map[string]string
	body   string
	coded  func(body string) string // as a proxy encodes it; nil: not at all
}

// recorded is a request that publishes, as the server sees it.
type recorded struct {
	method, host, path string
	header             http.Header
	body               string
}

func openTwins(t *testing.T, service sink.Service, fifo bool) *twins {
	t.Helper()
	w := &twins{sinks: map[sink.Client]sink.Sink{}}
	server := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(server.Close)
	w.host = strings.TrimPrefix(server.URL, "http://")
	name := "orders"
	if service == sink.EventBridge {
		name = "event-bus/" + name
	}
	if fifo {
		name += ".fifo"
	}
	dest, err := sink.ParseDestination("arn:aws:" + string(service) + ":eu-central-1:123456789012:" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range clients {
		if w.sinks[client], err = openWith(t.Context(), config(server.URL), dest,
			sink.Options{Client: client}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// serve answers the SDK's reads of a destination itself.
func (w *twins) serve(response http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a client that breaks off gets no answer
	fifo := strings.Contains(string(body), ".fifo")
	switch target := r.Header.Get("X-Amz-Target"); {
	case target == "AmazonSQS.GetQueueUrl":
		name := "orders"
		if fifo {
			name += ".fifo"
		}
		fmt.Fprintf(response, `{"QueueUrl":"https://sqs.eu-central-1.amazonaws.com/123456789012/%s"}`, name)
	case target == "AWSEvents.DescribeEventBus":
		io.WriteString(response, `{"Name":"orders"}`)
	case target == "AmazonSQS.GetQueueAttributes":
		fmt.Fprintf(response, `{"Attributes":{"MaximumMessageSize":"1048576","FifoQueue":"%t"}}`, fifo)
	case strings.Contains(string(body), "Action=GetTopicAttributes"):
		fmt.Fprintf(
			response,
			`<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes><entry><key>FifoTopic</key>`+
				`<value>%t</value></entry></Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>`,
			fifo,
		)
	default:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests = append(w.requests, recorded{r.Method, r.Host, r.URL.String(), r.Header, string(body)})
		for name, value := range w.answer.header {
			response.Header().Set(name, value)
		}
		response.WriteHeader(w.answer.status)
		answer := strings.ReplaceAll(withEntries(w.answer.body, string(body)), eventID, uuid.NewString())
		if w.answer.coded != nil {
			answer = w.answer.coded(answer)
		}
		_, _ = io.WriteString(response, answer)
	}
}

// eventID stands in a reply for the id of an event, which no two answers have in common.
const eventID = "(event id)"

// entryIDs are the Ids of the entries of a request.
var entryIDs = regexp.MustCompile(`[0-9a-f]{16}-[0-9]`)

// placeholder stands in a reply for the Id of the entry at position i.
func placeholder(i int) string { return fmt.Sprintf("(entry %d)", i) }

// withEntries returns body with the Ids of the request in place of placeholders.
func withEntries(body, request string) string {
	id := entryIDs.FindString(request)
	if id == "" {
		return body
	}
	for i := range sink.MaxBatch {
		body = strings.ReplaceAll(body, placeholder(i), id[:len(id)-1]+strconv.Itoa(i))
	}
	return body
}

// publishing is a test, of one batch or of many.
type publishing interface {
	Context() context.Context
	Fatalf(format string, args ...any)
}

// publish sends batch with each client and returns what each sent and got.
func (w *twins) publish(
	t publishing,
	batch []*sink.Message,
	answer reply,
) (requests map[sink.Client]recorded, outcomes map[sink.Client][]string) {
	requests, outcomes = map[sink.Client]recorded{}, map[sink.Client][]string{}
	for client, s := range w.sinks {
		w.answerWith(answer)
		results, err := s.Publish(t.Context(), batch)
		outcomes[client] = []string{describe(err)}
		for _, r := range results {
			outcomes[client] = append(outcomes[client], describe(r.Err))
		}
		sent := w.sent()
		if len(sent) != 1 {
			t.Fatalf("%s: %d requests for one batch, %v", client, len(sent), err)
		}
		requests[client] = sent[0]
	}
	return requests, outcomes
}

// answerWith makes answer that of the next requests, and forgets those before.
func (w *twins) answerWith(answer reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer, w.requests = answer, nil
}

func (w *twins) sent() []recorded {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

// describe returns the relay's classification of err.
func describe(err error) string {
	if rejected, ok := errors.AsType[*sink.RejectedError](err); ok {
		return "rejected for good: " + rejected.Code + ": " + rejected.Reason
	}
	return sink.Code(err)
}

var (
	text = rapid.StringOf(rapid.OneOf(
		rapid.RuneFrom([]rune("abcXYZ019-_.~ \t\r\n\"\\/<>&%+='{}[]:,;#?@$\u007f")),
		rapid.Rune().Filter(func(r rune) bool { return r >= ' ' && r != 0xFFFE && r != 0xFFFF })))
	token  = rapid.StringMatching("[!-~]{1,128}")
	traces = rapid.SampledFrom(
		[]string{"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", "no trace of X-Ray"})
)

// drawBatch returns a batch of messages that [sink.Validate] passes, and also control characters,
// which it refuses.
func drawBatch(t *rapid.T) []*sink.Message {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *sink.Message {
		m := &sink.Message{
			Type:            rapid.StringMatching("[a-z.]{0,20}").Draw(t, "type"),
			Body:            rapid.OneOf(text, rapid.StringMatching("[\x01-\x1f]{1,5}")).Draw(t, "body") + ".",
			GroupID:         token.Draw(t, "group"),
			TenantID:        rapid.OneOf(token, rapid.Just("")).Draw(t, "tenant"),
			DeduplicationID: token.Draw(t, "deduplication id"),
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching("[a-z_.-]{1,20}"), 0, 10,
			rapid.ID).Draw(t, "attributes") {
			m.Attributes = append(m.Attributes, sink.Attribute{
				Name: name, DataType: rapid.SampledFrom([]sink.DataType{sink.String, sink.Number}).Draw(t,
					"type"), Value: text.Draw(t, "value") + ".",
			})
		}
		if len(m.Attributes) < outbox.MaxAttributes && rapid.Bool().Draw(t, "traced") {
			m.Attributes = append(m.Attributes,
				sink.Attribute{Name: outbox.HeaderXRay, DataType: sink.String, Value: traces.Draw(t, "trace")})
		}
		return m
	}), 1, sink.MaxBatch).Draw(t, "batch")
}

func eachKind(t *testing.T, test func(*testing.T, sink.Service, bool)) {
	t.Helper()
	for _, service := range services {
		for _, fifo := range []bool{false, true} {
			if fifo && service == sink.EventBridge {
				continue
			}
			t.Run(fmt.Sprintf("%s, FIFO %t", service, fifo), func(t *testing.T) {
				t.Parallel()
				test(t, service, fifo)
			})
		}
	}
}

func TestBothClientsSendTheSameRequests(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, service sink.Service, fifo bool) {
		w := openTwins(t, service, fifo)
		rapid.Check(t, func(t *rapid.T) {
			batch := drawBatch(t)
			requests, _ := w.publish(t, batch, success(service, batch))
			if diff := cmp.Diff(decoded(t, service, requests[sink.SDK]),
				decoded(t, service, requests[sink.Direct])); diff != "" {
				t.Errorf("request of the SDK (-), own request (+):\n%s", diff)
			}
		})
	})
}

// decoded returns a server's reading of a request, without the parts that differ from request to
// request.
func decoded(t *rapid.T, service sink.Service, r recorded) any {
	checkSignature(t, service, r)
	r.body = entryIDs.ReplaceAllStringFunc(r.body, func(id string) string { return id[len(id)-1:] })
	header := http.Header{}
	for _, name := range []string{"Content-Type", "Content-Length", "X-Amz-Target", "X-Amzn-Query-Mode"} {
		if header[name] = r.header[name]; name == "Content-Length" {
			header[name] = nil // of another text for the same meaning
		}
	}
	var body any
	if service != sink.SNS {
		if err := json.Unmarshal([]byte(r.body), &body); err != nil {
			t.Fatalf("%v in %s", err, r.body)
		}
	} else {
		body = parseForm(t, r.body)
	}
	return []any{r.method, r.host, r.path, header, body}
}

// parseForm returns the parameters of a form, with attributes by their name instead of their
// number, which has no meaning.
func parseForm(t *rapid.T, text string) map[string][]string {
	form, err := url.ParseQuery(text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	parameters := map[string][]string{}
	for name, values := range form {
		list, field, attribute := strings.Cut(name, ".Value.")
		switch {
		case attribute:
			parameters[list[:strings.LastIndexByte(list, '.')]+"/"+form.Get(list+".Name")+"/"+field] = values
		case !strings.HasSuffix(name, ".Name"):
			parameters[name] = values
		}
	}
	return parameters
}

// checkSignature signs the received request again, with all the headers that the client signed, and
// expects the same signature.
func checkSignature(t *rapid.T, service sink.Service, r recorded) {
	authorization := r.header.Get("Authorization")
	_, names, _ := strings.Cut(authorization, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again, err := http.NewRequest(r.method, "http://"+r.host+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(names, ";") {
		if name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = r.header[http.CanonicalHeaderKey(name)]
		}
	}
	at, err := time.Parse("20060102T150405Z", r.header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	credentials, _ := config("").Credentials.Retrieve(t.Context())
	sum := sha256.Sum256([]byte(r.body))
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, again, hex.EncodeToString(sum[:]),
		string(service), "eu-central-1", at); err != nil {
		t.Fatal(err)
	}
	if want := again.Header.Get("Authorization"); authorization != want {
		t.Errorf("signature %q, want %q", authorization, want)
	}
	if names != "" && !strings.Contains(names, "content-type") {
		t.Errorf("signed headers: %s", names)
	}
}

// result is the result of one entry in an answer.
type result struct{ ID, Code, Message, MD5 string }

// success returns the answer of a service that accepts batch.
func success(service sink.Service, batch []*sink.Message) reply {
	var taken []result
	for i := range batch {
		taken = append(taken, accepted(batch, i))
	}
	return answerOf(service, taken, nil)
}

// accepted returns the result of the message at position i of batch.
func accepted(batch []*sink.Message, i int) result {
	return result{ID: placeholder(i), MD5: fmt.Sprintf("%x", md5.Sum([]byte(batch[i].Body)))}
}

func answerOf(service sink.Service, taken, failed []result) reply {
	if service == sink.SNS {
		return reply{
			status: http.StatusOK,
			body: `<?xml version="1.0"?>` + "\n" +
				`<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">` +
				"<PublishBatchResult>" + members(
				"Failed",
				failed,
			) + members("Successful", taken) + "</PublishBatchResult>" +
				"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></PublishBatchResponse>",
		}
	}
	if service == sink.EventBridge {
		return eventAnswer(taken, failed)
	}
	answer := map[string]any{"Successful": []any{}}
	for name, list := range map[string][]result{"Successful": taken, "Failed": failed} {
		var entries []any
		for _, r := range list {
			e := map[string]any{"Id": r.ID, "MessageId": "m"}
			if name == "Failed" {
				e["Code"], e["Message"], e["SenderFault"] = r.Code, r.Message, true
			} else {
				e["MD5OfMessageBody"] = r.MD5
			}
			entries = append(entries, e)
		}
		if len(entries) > 0 {
			answer[name] = entries
		}
	}
	body, _ := json.Marshal(answer) // texts only
	return reply{status: http.StatusOK, body: string(body)}
}

// eventAnswer returns an answer of EventBridge. Its results have no ids.
func eventAnswer(taken, failed []result) reply {
	entries := []map[string]string{}
	for range taken {
		entries = append(entries, map[string]string{"EventId": eventID})
	}
	for _, r := range failed {
		entries = append(entries, map[string]string{"ErrorCode": r.Code, "ErrorMessage": r.Message})
	}
	body, _ := json.Marshal(map[string]any{"FailedEntryCount": len(failed), "Entries": entries}) // texts only
	return reply{status: http.StatusOK, body: string(body)}
}

func members(list string, results []result) string {
	if len(results) == 0 {
		return "<" + list + "/>"
	}
	var b strings.Builder
	for _, r := range results {
		b.WriteString("<member><Id>" + escaped(r.ID) + "</Id>")
		if r.Code != "" {
			b.WriteString(
				"<Code>" + escaped(r.Code) + "</Code><Message>" + escaped(
					r.Message) + "</Message><SenderFault>true</SenderFault>",
			)
		}
		b.WriteString("</member>")
	}
	return "<" + list + ">" + b.String() + "</" + list + ">"
}

func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer accepts all bytes
	return b.String()
}

// codes of errors: refusals, throttling, others, and some of no service.
var codes = rapid.SampledFrom([]string{
	"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "InvalidMessageContents",
	"BatchRequestTooLong",
	"AWS.SimpleQueueService.BatchRequestTooLong", "MissingParameter", "ValidationError", "Throttling",
	"ThrottlingException",
	"Throttled", "KMSThrottling", "KMS.ThrottlingException", "KmsThrottled", "AuthorizationError", "AccessDenied",
	"NotFound",
	"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ExpiredToken", "InvalidClientTokenId", "OverLimit",
	"InternalError", "InternalFailure", "ServiceUnavailable", "RequestTimeTooSkewed", "New<One>&",
	"InvalidParameterValueException", "InvalidParameterException", "KMSThrottlingException", "NotFoundException",
	"com.amazonaws.sqs#QueueDoesNotExist", "com.amazonaws.sqs#UnsupportedOperation:http://",
})

func TestBothClientsReadTheSameOutOfAnAnswer(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, service sink.Service, fifo bool) {
		w := openTwins(t, service, fifo)
		rapid.Check(t, func(t *rapid.T) {
			batch := drawBatch(t)
			answer := drawAnswer(t, service, batch)
			_, outcomes := w.publish(t, batch, answer)
			if diff := cmp.Diff(outcomes[sink.SDK], outcomes[sink.Direct]); diff != "" {
				t.Errorf("%d %s\noutcomes of the SDK (-), own outcomes (+):\n%s", answer.status, answer.body, diff)
			}
		})
	})
}

// drawAnswer draws a success, a success of some entries, an answer that does not fit the request,
// or an error.
func drawAnswer(t *rapid.T, service sink.Service, batch []*sink.Message) reply {
	if rapid.Bool().Draw(t, "error") {
		return drawError(t, service)
	}
	var taken, failed []result
	for i := range batch {
		r := accepted(batch, i)
		switch rapid.IntRange(0, 12).Draw(t, "fate") {
		case 0:
			r.Code, r.Message = codes.Draw(t, "code"), text.Draw(t, "message")+"."
			failed = append(failed, r)
		case 1:
			r.MD5 = rapid.SampledFrom([]string{"", "x", strings.Repeat("0", 32)}).Draw(t, "checksum")
			taken = append(taken, r)
		case 2:
			r.ID = rapid.SampledFrom([]string{placeholder(0), placeholder(9), "0", "", "&", `"`}).Draw(t, "id")
			taken = append(taken, r)
		case 3:
		default:
			taken = append(taken, r)
		}
	}
	return answerOf(service, taken, failed)
}

func drawError(t *rapid.T, service sink.Service) reply {
	code, message := codes.Draw(t, "code"), text.Draw(t, "message")+"."
	a := reply{
		status: rapid.SampledFrom([]int{400, 403, 404, 413, 429, 500, 502, 503}).Draw(t, "status"),
		header: map[string]string{},
	}
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
	case kind == 0:
		a.body = "<html><h1>Bad gateway</h1>"
	case kind == 1:
		a.body = ""
	case service == sink.SNS:
		a.body = "<ErrorResponse><Error><Type>Sender</Type><Code>" + escaped(
			code) + "</Code><Message>" + escaped(
			message,
		) +
			"</Message></Error><RequestId>1</RequestId></ErrorResponse>"
	default:
		body, _ := json.Marshal(
			map[string]string{"__type": "com.amazonaws.sqs#" + code, "message": message}) // texts only
		a.body = string(body)
		if rapid.Bool().Draw(t, "query error") {
			a.header["x-amzn-query-error"] = codes.Draw(t, "query code") + ";Sender"
		}
		if rapid.Bool().Draw(t, "error type") {
			a.header["x-amzn-errortype"] = codes.Draw(t, "type")
		}
	}
	return a
}

// TestAnAnswerThatIsCutIsNoSuccess: wherever the answer is cut, an entry counts as durable only if
// the answer said so.
func TestAnAnswerThatIsCutIsNoSuccess(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, service sink.Service, fifo bool) {
		w := openTwins(t, service, fifo)
		batch := batchOf(2)
		whole := success(service, batch)
		for n := range len(whole.body) {
			part := reply{status: http.StatusOK, body: whole.body[:n]}
			_, outcomes := w.publish(t, batch, part)
			durable := len(outcomes[sink.Direct]) > 1 && outcomes[sink.Direct][1] == "" &&
				outcomes[sink.Direct][2] == ""
			if durable && outcomes[sink.Direct][0] == "" {
				t.Fatalf("durable after %d of %d bytes: %s", n, len(whole.body), part.body)
			}
		}
	})
}
