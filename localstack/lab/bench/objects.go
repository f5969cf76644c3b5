package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/http/httputil"
	"strings"
)

// Object describes an object that was put into a bucket of a [Broker]. The Broker keeps no content.
type Object struct {
	Bytes  int
	SHA256 string // in hex
}

// putObject answers PutObject, for any bucket: the path has the bucket and the key.
func (s *service) putObject(r request) error {
	content := s.body
	if r.chunked {
		var err error
		// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
		if content, err = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(s.body))); err != nil {
			return err
		}
	}
	_, key, _ := strings.Cut(strings.TrimPrefix(r.path, "/"), "/")
	key, _, _ = strings.Cut(key, "?")
	sum := sha256.Sum256(content)
	s.broker.keep(key, Object{len(content), hex.EncodeToString(sum[:])})
	return nil
}

func (b *Broker) keep(key string, o Object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.objects == nil {
		b.objects = map[string]Object{}
	}
	b.objects[key] = o
}

// Objects returns the objects of all buckets, by key.
func (b *Broker) Objects() map[string]Object {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.objects)
}
