package fakeaws

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's entity tag
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
)

// maxObject exceeds the largest object that tests write.
const maxObject = 64 << 20

// s3Bucket is a bucket of S3. The server's lock guards it.
type s3Bucket struct {
	objects map[string]*s3Object
	refusal string        // the code with which each request fails; empty: none fails
	held    chan struct{} // closed when requests are answered; nil if they are answered at once
	waiting int           // requests that wait for held
}

// s3Object is an object of S3.
type s3Object struct {
	content []byte
	writes  int
}

// CreateBucket creates an empty bucket of S3, unless it exists.
func (s *Server) CreateBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[name] == nil {
		s.buckets[name] = &s3Bucket{objects: map[string]*s3Object{}}
	}
}

// RefuseBucket has every request to a bucket fail with this code of S3, and none for an empty code.
func (s *Server) RefuseBucket(name, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name].refusal = code
}

// HoldBucket reads every request to a bucket and does not answer it until release is called.
func (s *Server) HoldBucket(name string) (release func()) {
	held := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name].held = held
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.buckets[name].held = nil
		close(held)
	})
}

// Held returns how many requests to a bucket wait for the release.
func (s *Server) Held(name string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.buckets[name].waiting
}

// Objects returns how often each object of a bucket was written, by key.
func (s *Server) Objects(name string) map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	writes := map[string]int{}
	for key, o := range s.buckets[name].objects {
		writes[key] = o.writes
	}
	return writes
}

// Object returns the content of an object, or nil if the bucket does not have it.
func (s *Server) Object(bucket, key string) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.buckets[bucket]; b != nil && b.objects[key] != nil {
		return b.objects[key].content
	}
	return nil
}

// isS3 reports whether a request is signed for S3.
func isS3(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Authorization"), "/s3/aws4_request")
}

// serveS3 answers a request with the bucket in its path: CreateBucket, PutObject, GetObject,
// HeadObject and DeleteObject.
func (s *Server) serveS3(w http.ResponseWriter, r *http.Request) {
	content, err := readObject(http.MaxBytesReader(w, r.Body, maxObject), r.Header)
	if err != nil {
		http.Error(w, "read the request: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if key == "" && r.Method == http.MethodPut {
		s.CreateBucket(name)
		return
	}
	s.awaitRelease(r.Context(), name)
	o, refusal := s.access(r.Method, name, key, content)
	switch {
	case refusal != "":
		s.refuseS3(w, refusal)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		sum := md5.Sum(o) //nolint:gosec // S3's entity tag
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		if r.Method == http.MethodPut {
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(o)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(o) // fails only if the client has disconnected
		}
	}
}

// readObject reads the body of a request. Over TLS the SDK does not sign the body: it sends chunks
// within the body, and its checksum behind them.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
func readObject(body io.Reader, head http.Header) ([]byte, error) {
	length := head.Get("X-Amz-Decoded-Content-Length")
	if length == "" {
		return io.ReadAll(body)
	}
	content, err := io.ReadAll(httputil.NewChunkedReader(body))
	if err == nil && strconv.Itoa(len(content)) != length {
		return nil, fmt.Errorf("%d bytes, and X-Amz-Decoded-Content-Length is %s", len(content), length)
	}
	return content, err
}

// awaitRelease waits while the bucket is held, or until the client disconnects.
func (s *Server) awaitRelease(ctx context.Context, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil || b.held == nil {
		return
	}
	held := b.held
	b.waiting++
	s.mu.Unlock()
	select {
	case <-held:
	case <-ctx.Done():
	}
	s.mu.Lock()
	b.waiting--
}

// access writes, reads or removes an object. It returns the content, or the code of a refusal.
func (s *Server) access(method, name, key string, content []byte) (of []byte, refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	switch {
	case b == nil:
		return nil, "NoSuchBucket"
	case b.refusal != "":
		return nil, b.refusal
	}
	o := b.objects[key]
	switch {
	case method == http.MethodPut && o == nil:
		b.objects[key] = &s3Object{content: content, writes: 1}
		return content, ""
	case method == http.MethodPut:
		o.content, o.writes = content, o.writes+1
		return content, ""
	case method == http.MethodDelete:
		delete(b.objects, key)
		return nil, ""
	case o == nil:
		return nil, "NoSuchKey"
	}
	return o.content, ""
}

// refusalsOfS3 are codes and their status. Any other code has that of an internal error.
var refusalsOfS3 = map[string]int{
	"AccessDenied": http.StatusForbidden, "ExpiredToken": http.StatusBadRequest, "NoSuchBucket": http.StatusNotFound,
	"NoSuchKey": http.StatusNotFound, "SlowDown": http.StatusServiceUnavailable,
}

func (s *Server) refuseS3(w http.ResponseWriter, code string) {
	status, known := refusalsOfS3[code]
	if !known {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	var text strings.Builder
	_ = xml.EscapeText(&text, []byte(code)) // cannot fail for a Builder
	_, _ = fmt.Fprintf(w, "%s<Error><Code>%s</Code><Message>refused by fakeaws</Message>"+
		"<RequestId>%s</RequestId></Error>", xml.Header, text.String(), s.identify.uuid())
}
