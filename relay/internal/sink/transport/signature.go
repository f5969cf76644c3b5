package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/encoding/httpbinding"
)

// Formats of times and days in signatures.
const (
	amzTime = "20060102T150405Z"
	amzDay  = "20060102"
)

// Headers whose value differs from request to request, by their names in signatures.
const (
	headerHost   = "host"
	headerLength = "content-length"
	headerDate   = "x-amz-date"
	headerToken  = "x-amz-security-token"
)

// signer writes the head of POST requests to one endpoint, with Signature Version 4. The SDK's
// signer is for requests of any kind and takes half as long as everything else about a request.
// This one knows its headers, and makes the same signature: see TestSignaturesAreThoseOfTheSDK.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type signer struct {
	service, region string
	host            string
	canonicalPath   string
	begin           string // of the head: request line, and the constant headers
	headers         []signedHeader
}

// signedHeader is a header that the signature covers. Its value is empty if it differs from request
// to request.
type signedHeader struct{ name, value string }

func newSigner(endpoint Endpoint) *signer {
	path := endpoint.URL.EscapedPath()
	s := &signer{
		service:       endpoint.Service,
		region:        endpoint.Region,
		host:          hostOf(&endpoint.URL),
		canonicalPath: httpbinding.EscapePath(path, false),
		begin:         "POST " + path + " HTTP/1.1\r\nHost: " + hostOf(&endpoint.URL) + "\r\n",
		headers: []signedHeader{
			{name: headerHost, value: hostOf(&endpoint.URL)},
			{name: headerLength},
			{name: headerDate},
			{name: headerToken},
		},
	}
	for name, values := range endpoint.Header {
		s.begin += name + ": " + values[0] + "\r\n"
		if name != "User-Agent" { // a proxy may change it
			s.headers = append(s.headers, signedHeader{strings.ToLower(name), values[0]})
		}
	}
	slices.SortFunc(s.headers, func(a, b signedHeader) int { return strings.Compare(a.name, b.name) })
	return s
}

// hostOf returns the host in the form of its header: without the default port of the scheme, and
// without the zone of an IPv6 address, which has a meaning on this machine only.
func hostOf(u *url.URL) string {
	if address, zone, zoned := strings.Cut(u.Host, "%"); zoned {
		_, after, _ := strings.Cut(zone, "]")
		u = &url.URL{Scheme: u.Scheme, Host: address + "]" + after}
	}
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		return strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Host
}

// appendHead appends the head of a request with this body. Without an identity it is not signed.
func (s *signer) appendHead(head []byte, id *identity, now time.Time, body []byte) []byte {
	head = append(head, s.begin...)
	head = append(head, "Content-Length: "...)
	head = strconv.AppendInt(head, int64(len(body)), 10)
	if id != nil && !id.isOn(now) { // midnight passed while a connection was made
		id = s.identity(id.credentials, now)
	}
	if id != nil {
		var space [len(amzTime)]byte
		head = s.appendSignature(head, id, now.UTC().AppendFormat(space[:0], amzTime), body)
	}
	return append(head, "\r\n\r\n"...)
}

// appendSignature appends the headers of the signature. date is the time of the request as
// [amzTime].
func (s *signer) appendSignature(head []byte, id *identity, date, body []byte) []byte {
	head = append(head, "\r\nX-Amz-Date: "...)
	head = append(head, date...)
	if id.credentials.SessionToken != "" {
		head = append(head, "\r\nX-Amz-Security-Token: "...)
		head = append(head, id.credentials.SessionToken...)
	}
	head = append(head, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential="...)
	head = append(head, id.credentials.AccessKeyID...)
	head = append(head, '/')
	head = append(head, id.scope...)
	head = append(head, ", SignedHeaders="...)
	head = s.appendNames(head, id)
	head = append(head, ", Signature="...)

	work := id.works.Get().(*work)
	defer id.works.Put(work)
	work.text = s.appendCanonical(work.text[:0], id, date, body)
	canonical := sha256.Sum256(work.text)
	work.text = append(work.text[:0], "AWS4-HMAC-SHA256\n"...)
	work.text = append(work.text, date...)
	work.text = append(work.text, '\n')
	work.text = append(work.text, id.scope...)
	work.text = append(work.text, '\n')
	work.text = hex.AppendEncode(work.text, canonical[:])
	return hex.AppendEncode(head, work.sign())
}

// appendCanonical appends the request in the form that is signed.
func (s *signer) appendCanonical(text []byte, id *identity, date, body []byte) []byte {
	text = append(text, "POST\n"...)
	text = append(text, s.canonicalPath...)
	text = append(text, "\n\n"...) // no query
	for _, header := range s.headers {
		if !id.signs(header) {
			continue
		}
		text = append(text, header.name...)
		text = append(text, ':')
		switch header.name {
		case headerLength:
			text = strconv.AppendInt(text, int64(len(body)), 10)
		case headerDate:
			text = append(text, date...)
		case headerToken:
			text = append(text, id.credentials.SessionToken...)
		default:
			text = append(text, header.value...)
		}
		text = append(text, '\n')
	}
	text = append(text, '\n')
	text = s.appendNames(text, id)
	text = append(text, '\n')
	sum := sha256.Sum256(body)
	return hex.AppendEncode(text, sum[:])
}

// appendNames appends the names of the headers that are signed.
func (s *signer) appendNames(text []byte, id *identity) []byte {
	separate := false
	for _, header := range s.headers {
		if !id.signs(header) {
			continue
		}
		if separate {
			text = append(text, ';')
		}
		text = append(text, header.name...)
		separate = true
	}
	return text
}

// identity is the signer on one day.
type identity struct {
	credentials aws.Credentials
	day         int64     // since 1970, in UTC
	scope       string    // the scope of the key
	works       sync.Pool // of *work
	askedAt     time.Time // when the provider returned the credentials
}

func (s *signer) identity(credentials aws.Credentials, now time.Time) *identity {
	day := now.UTC().Format(amzDay)
	key := []byte("AWS4" + credentials.SecretAccessKey)
	for _, part := range []string{day, s.region, s.service, "aws4_request"} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	id := &identity{
		credentials: credentials, day: dayOf(now), scope: day + "/" + s.region + "/" + s.service + "/aws4_request",
	}
	id.works.New = func() any { return &work{mac: hmac.New(sha256.New, key)} }
	return id
}

// isOn reports whether id signs on the day of now.
func (id *identity) isOn(now time.Time) bool { return dayOf(now) == id.day }

// dayOf returns the number of the day in UTC.
func dayOf(t time.Time) int64 { return t.Unix() / int64(24*time.Hour/time.Second) }

// signs reports whether the request has this header.
func (id *identity) signs(header signedHeader) bool {
	return header.name != headerToken || id.credentials.SessionToken != ""
}

// work is the memory in which one request is signed.
type work struct {
	mac  hash.Hash // with the derived key
	text []byte
	sum  []byte
}

// sign returns the signature of text.
func (w *work) sign() []byte {
	w.mac.Reset()
	w.mac.Write(w.text)
	w.sum = w.mac.Sum(w.sum[:0])
	return w.sum
}
