package transport

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxHead is that of net/http.
const maxHead = 10 << 20

// Answer is the answer to a request. Its parts are valid until Release.
type Answer struct {
	Status int
	Body   []byte

	old    bool        // HTTP/1.0: the connection ends with the answer
	head   []byte      // header lines as received
	header http.Header // parsed from head when it is first needed
}

var answers = sync.Pool{New: func() any { return new(Answer) }}

func newAnswer() *Answer {
	a := answers.Get().(*Answer)
	*a = Answer{Body: a.Body[:0], head: a.head[:0]}
	return a
}

// Release makes the memory of a available again.
func (a *Answer) Release() {
	if cap(a.Body) <= maxKept && cap(a.head) <= maxKept {
		answers.Put(a)
	}
}

// Header returns the headers of the answer.
func (a *Answer) Header() http.Header {
	if a.header == nil {
		header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(a.head, "\r\n"...)))).ReadMIMEHeader()
		if err != nil {
			header = nil // an unreadable head has no headers
		}
		a.header = http.Header(header)
	}
	return a.header
}

// Error returns err, the service's error in an answer that is no success, in the form of the SDK.
func (a *Answer) Error(requestID string, err error) error {
	return &awshttp.ResponseError{
		RequestID: cmp.Or(requestID, a.Header().Get("X-Amzn-Requestid")),
		ResponseError: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{
				Response: &http.Response{StatusCode: a.Status, Header: a.Header()},
			}, Err: err,
		},
	}
}

// value returns the value of the first header of this name, and whether there is one.
func (a *Answer) value(name string) (value []byte, ok bool) {
	if a.header != nil {
		values := a.header.Values(name)
		if len(values) == 0 {
			return nil, false
		}
		return []byte(values[0]), true
	}
	for line := range bytes.Lines(a.head) {
		if n, value, _ := bytes.Cut(line, []byte(":")); equalFold(n, name) {
			return bytes.TrimSpace(value), true
		}
	}
	return nil, false
}

// count returns how many headers of this name there are.
func (a *Answer) count(name string) (n int) {
	for line := range bytes.Lines(a.head) {
		if header, _, _ := bytes.Cut(line, []byte(":")); equalFold(header, name) {
			n++
		}
	}
	return n
}

// isOnly reports whether no header of this name has another value.
func (a *Answer) isOnly(name string, value []byte) bool {
	for line := range bytes.Lines(a.head) {
		if n, other, _ := bytes.Cut(line, []byte(":")); equalFold(n, name) &&
			!bytes.Equal(bytes.TrimSpace(other), value) {
			return false
		}
	}
	return true
}

func equalFold(text []byte, name string) bool {
	return len(text) == len(name) && strings.EqualFold(string(text), name)
}

// readAnswer reads one HTTP/1.1 answer to a POST, and reports whether the connection may carry
// another request. It skips interim answers.
//
// https://www.rfc-editor.org/rfc/rfc9112
func readAnswer(r *bufio.Reader) (a *Answer, reusable bool, err error) {
	a = newAnswer()
	// the bytes after it are no HTTP
	for a.Status < 200 && a.Status != http.StatusSwitchingProtocols {
		if err := a.readHead(r); err != nil {
			a.Release()
			return nil, false, fmt.Errorf("read the answer: %w", err)
		}
	}
	framed, err := a.readBody(r)
	if err != nil {
		a.Release()
		return nil, false, fmt.Errorf("read the answer: %w", err)
	}
	connection, _ := a.value("Connection")
	return a, framed && !a.old && a.Status >= 200 && !equalFold(connection, "close"), nil
}

func (a *Answer) readHead(r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	version, rest, _ := bytes.Cut(line, []byte(" "))
	status, _, _ := bytes.Cut(rest, []byte(" "))
	code, err := strconv.ParseUint(string(status), 10, 16)
	if string(version) != "HTTP/1.1" && string(version) != "HTTP/1.0" || err != nil || len(status) != len("200") ||
		code < 100 {
		return errors.New("it is not HTTP/1.1")
	}
	a.Status, a.head = int(code), a.head[:0]
	a.old = string(version) == "HTTP/1.0"
	for {
		line, err := readLine(r)
		if err != nil || len(line) == 0 {
			return err
		}
		if name, _, ok := bytes.Cut(line, []byte(":")); !ok || !isToken(name) {
			return errors.New("a line of its head is no header")
		}
		if a.head = append(append(a.head, line...), '\n'); len(a.head) > maxHead {
			return fmt.Errorf("its head is longer than %d bytes", maxHead)
		}
	}
}

// isToken reports whether name may be the name of a header.
//
// https://www.rfc-editor.org/rfc/rfc9110#name-tokens
func isToken(name []byte) bool {
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z',
			'A' <= c && c <= 'Z',
			'0' <= c && c <= '9',
			strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return len(name) > 0
}

// readLine returns the next line without its end. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = readLong(r, line)
	}
	if err != nil {
		return nil, unexpected(err)
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// readLong reads the rest of a line that starts with begin and is longer than the buffer of r.
func readLong(r *bufio.Reader, begin []byte) (line []byte, err error) {
	line = slices.Clone(begin)
	for err = bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull); {
		var part []byte
		part, err = r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxHead {
			return nil, fmt.Errorf("a line of its head is longer than %d bytes", maxHead)
		}
	}
	return line, err
}

// readBody reads the body, and reports whether the body ends before the connection does.
func (a *Answer) readBody(r *bufio.Reader) (framed bool, err error) {
	if a.Status < 200 || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		return true, nil
	}
	if coding, ok := a.value("Transfer-Encoding"); ok {
		if a.old || !equalFold(coding, "chunked") || a.count("Transfer-Encoding") > 1 {
			return false, fmt.Errorf("its transfer encoding is %q, or another one too", coding)
		}
		return true, a.readChunks(r)
	}
	length, ok := a.value("Content-Length")
	if !ok {
		return false, a.readUpTo(r)
	}
	n, err := strconv.ParseUint(string(length), 10, 63)
	switch {
	case err != nil, !a.isOnly("Content-Length", length):
		return false, fmt.Errorf("its length is %q, or another one", length)
	case n > maxAnswer:
		return false, errTooLong
	}
	a.Body = append(a.Body, make([]byte, n)...)
	_, err = io.ReadFull(r, a.Body)
	return true, unexpected(err)
}

// readChunks reads the chunks of a body and the trailers behind them.
func (a *Answer) readChunks(r *bufio.Reader) error {
	if err := a.readUpTo(httputil.NewChunkedReader(r)); err != nil {
		return err
	}
	for read := 0; ; {
		line, err := readLine(r)
		if err != nil || len(line) == 0 {
			return err
		}
		if read += len(line); read > maxHead {
			return fmt.Errorf("its trailers are longer than %d bytes", maxHead)
		}
	}
}

// readUpTo reads the body up to the end of r.
func (a *Answer) readUpTo(r io.Reader) error {
	body := bytes.NewBuffer(a.Body)
	n, err := body.ReadFrom(io.LimitReader(r, maxAnswer+1))
	a.Body = body.Bytes()
	if n > maxAnswer {
		return errTooLong
	}
	return unexpected(err)
}

// decompress decodes the body of a proxy that compresses answers, as net/http does. It leaves a
// body of any other coding: see [strangerError].
func (a *Answer) decompress() error {
	if coding, _ := a.value(contentEncoding); !equalFold(coding, "gzip") || len(a.Body) == 0 {
		return nil
	}
	r, err := gzip.NewReader(bytes.NewReader(bytes.Clone(a.Body)))
	if err != nil {
		return err
	}
	a.remove(contentEncoding)
	a.Body = a.Body[:0]
	return a.readUpTo(r)
}

const contentEncoding = "Content-Encoding"

// remove removes the headers of this name.
func (a *Answer) remove(name string) {
	kept := a.head[:0]
	for line := range bytes.Lines(a.head) {
		if header, _, _ := bytes.Cut(line, []byte(":")); !equalFold(header, name) {
			kept = append(kept, line...)
		}
	}
	a.head = kept
	a.header.Del(name)
}

var errTooLong = fmt.Errorf("it is longer than %d bytes", maxAnswer)

// unexpected returns err as the error of an incomplete answer.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
