package fakeaws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// maxRequest exceeds the longest legal request: 1 MiB of text with up to six bytes of JSON for each
// byte.
const maxRequest = 8 << 20

// call is a decoded request before it is performed. Faults apply in between.
type call struct {
	action      string
	destination string // name of the queue, topic or bus
	batch       *batch // nil if the action sends nothing
	perform     func(*plan) ([]byte, error)
}

// service is the AWS service that a request is for.
type service uint8

const (
	ofSNS service = iota
	ofSQS
	ofEvents
)

// answer is a response.
type answer struct {
	status     int
	queryError string // x-amzn-query-error, of SQS only
	body       []byte
}

const (
	jsonType   = "application/x-amz-json-1.0"
	json11Type = "application/x-amz-json-1.1"
	xmlType    = "text/xml"
)

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler) // returning would answer with status 200
	}
	defer s.handling.Done()
	if isS3(r) {
		s.serveS3(w, r)
		return
	}
	if end := s.script.early(); end != nil {
		end(w, r)
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		http.Error(w, "read the request: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	target := r.Header.Get("X-Amz-Target")
	if target == secretsTarget {
		s.serveSecret(w, body)
		return
	}
	of, action, known := serviceOf(target)
	if !known || target == "" && r.Method != http.MethodPost {
		s.serveOther(w, r)
		return
	}
	c, err := s.decode(r.Context(), of, action, body)
	if err != nil {
		s.write(w, of, s.failed(of, err))
		return
	}
	c.batch.sentBy(accessKeyID(r.Header.Get("Authorization")))
	s.run(r.Context(), exchange{s, w, of, c, r.Header, len(body)}, c)
}

// serviceOf returns the service and action of a request with this X-Amz-Target, which requests to
// SNS do not have.
func serviceOf(target string) (of service, action string, known bool) {
	if action, found := strings.CutPrefix(target, "AmazonSQS."); found {
		return ofSQS, action, true
	}
	if action, found := strings.CutPrefix(target, "AWSEvents."); found {
		return ofEvents, action, true
	}
	return ofSNS, "", target == ""
}

func (s *Server) decode(ctx context.Context, of service, action, body string) (*call, error) {
	switch of {
	case ofSQS:
		return s.callSQS(ctx, action, body)
	case ofEvents:
		return s.callEvents(action, body)
	}
	return s.callSNS(form{body})
}

// run performs c with its scripted faults.
func (s *Server) run(ctx context.Context, x exchange, c *call) {
	p := s.script.plan(c)
	if p.before(ctx, x) {
		return
	}
	body, err := c.perform(p)
	if ctx.Err() != nil { // the client of a waiting receive has disconnected
		x.reset()
		return
	}
	a := answer{status: http.StatusOK, body: body}
	if err != nil {
		a = s.failed(x.service, err)
	}
	if !p.after(ctx, x, a) {
		s.write(x.w, x.service, a)
	}
}

// accessKeyID returns the access key id of a request, from "AWS4-HMAC-SHA256
// Credential=AKID/20261123/…". The fake does not check signatures.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
func accessKeyID(authorization string) string {
	_, credential, _ := strings.Cut(authorization, "Credential=")
	id, _, _ := strings.Cut(credential, "/")
	return id
}

func readBody(w http.ResponseWriter, r *http.Request) (string, error) {
	buffer := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buffer)
	buffer.Reset()
	if _, err := io.Copy(buffer, http.MaxBytesReader(w, r.Body, maxRequest)); err != nil {
		return "", err
	}
	return buffer.String(), nil
}

// serveOther answers requests to none of the services, such as those of a browser or a probe.
func (s *Server) serveOther(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "fakeaws speaks AWS JSON for SQS and EventBridge and the Query protocol for SNS",
			http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"services":{"events":"running","sns":"running","sqs":"running"},`+
		`"edition":"fakeaws"}`+"\n")
}

// failed returns the answer for an error.
func (s *Server) failed(of service, err error) answer {
	var e *apiError
	if !errors.As(err, &e) {
		e = &apiError{
			status: http.StatusInternalServerError, code: "InternalError", shape: "InternalError",
			message: err.Error(), receiver: true,
		}
	}
	fault := "Sender"
	if e.receiver {
		fault = "Receiver"
	}
	switch of {
	case ofEvents:
		body, _ := json.Marshal(map[string]string{"__type": e.shape, "message": e.message}) // cannot fail for strings
		return answer{status: e.status, body: body}
	case ofSQS:
		// cannot fail for strings
		body, _ := json.Marshal(map[string]string{"__type": "com.amazonaws.sqs#" + e.shape, "message": e.message})
		return answer{status: e.status, queryError: e.code + ";" + fault, body: body}
	}
	var b bytes.Buffer
	b.WriteString(`<ErrorResponse xmlns="` + snsNamespace + `">`)
	list("Error", text("Type", fault), text("Code", e.code), text("Message", e.message)).appendTo(&b)
	text("RequestId", s.identify.uuid()).appendTo(&b)
	b.WriteString("</ErrorResponse>")
	return answer{status: e.status, body: b.Bytes()}
}

func (s *Server) write(w http.ResponseWriter, of service, a answer) {
	s.head(w, of, a)
	_, _ = w.Write(a.body) // fails only if the client has disconnected
}

// head writes the status and the headers of a.
func (s *Server) head(w http.ResponseWriter, of service, a answer) {
	header := w.Header()
	header.Set("Content-Type", [...]string{ofSNS: xmlType, ofSQS: jsonType, ofEvents: json11Type}[of])
	if a.queryError != "" {
		header.Set("x-amzn-query-error", a.queryError)
	}
	header.Set("x-amzn-RequestId", s.identify.uuid())
	header.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
}
