package fakeaws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Issuer hands out temporary credentials, in the two ways of AWS: as the endpoint of a container's
// role, and as STS for AssumeRoleWithWebIdentity. The access key ID is the name that the client
// gives, so that a [Receipt] shows who sent it. Its methods may be called at the same time.
type Issuer struct {
	url      string
	lifetime time.Duration
	identify *identifiers
	http     http.Server
	serving  sync.WaitGroup

	mu      sync.Mutex
	fault   IssuerFault
	expired int // tokens up to this number
	issued  int // how many tokens
	hits    int // requests since the fault began
}

// IssuerFault is what an [Issuer] does in place of handing out credentials.
type IssuerFault struct {
	answer  func(w http.ResponseWriter, r *http.Request, isSTS bool) // nil: hands them out
	expired bool                                                     // what is handed out has expired already
}

// RefuseRole refuses to hand out credentials, in the words of whom was asked.
func RefuseRole(status int, code, message string) IssuerFault {
	return IssuerFault{answer: func(w http.ResponseWriter, _ *http.Request,
		isSTS bool,
	) {
		refuseRole(w, isSTS, status, code, message)
	}}
}

func refuseRole(w http.ResponseWriter, isSTS bool, status int, code, message string) {
	if !isSTS {
		writeJSON(w, status, map[string]string{"code": code, "message": message})
		return
	}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	writeXML(w, status, list("ErrorResponse", list("Error", text("Type", kind), text("Code", code),
		text("Message", message))))
}

// HideRole shows p in place of credentials.
func HideRole(p Page) IssuerFault {
	return IssuerFault{answer: func(w http.ResponseWriter, _ *http.Request, _ bool) { p.write(w) }}
}

// HangRole does not answer until the client gives up.
func HangRole() IssuerFault {
	return IssuerFault{answer: func(_ http.ResponseWriter, r *http.Request, _ bool) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees a client that is gone only once its request is read
		<-r.Context().Done()
	}}
}

// ExpireRole hands out credentials whose token has expired by then.
func ExpireRole() IssuerFault { return IssuerFault{expired: true} }

// StartIssuer listens on a free port of this machine, and hands out credentials that are good for
// lifetime.
func StartIssuer(lifetime time.Duration) (*Issuer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the fake of STS: %w", err)
	}
	i := &Issuer{url: "http://" + listener.Addr().String(), lifetime: lifetime, identify: newIdentifiers()}
	i.http.Handler = i
	i.serving.Go(func() { _ = i.http.Serve(listener) }) // ends with http.ErrServerClosed, by Close
	return i, nil
}

// Close ends every request.
func (i *Issuer) Close() error {
	err := i.http.Close()
	i.serving.Wait()
	return err
}

// URL returns the endpoint for AWS_ENDPOINT_URL_STS.
func (i *Issuer) URL() string { return i.url }

// ContainerURL returns the endpoint for AWS_CONTAINER_CREDENTIALS_FULL_URI of the container name.
func (i *Issuer) ContainerURL(name string) string { return i.url + containerPath + name }

const containerPath = "/container/"

// Script has f happen to every request from now on. The zero fault ends it.
func (i *Issuer) Script(f IssuerFault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault, i.hits = f, 0
}

// Hits returns how many requests the fault has met.
func (i *Issuer) Hits() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hits
}

// Expire expires every token that was handed out, long before its time. The broker has to ask
// [Issuer.HasExpired].
func (i *Issuer) Expire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expired = i.issued
}

// HasExpired reports whether a session token has expired. One that the issuer does not know has
// not.
func (i *Issuer) HasExpired(token string) bool {
	text, ours := strings.CutPrefix(token, tokenPrefix)
	n, err := strconv.Atoi(text)
	i.mu.Lock()
	defer i.mu.Unlock()
	return ours && err == nil && n <= i.expired
}

const tokenPrefix = "token-"

// ServeHTTP implements [http.Handler].
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isContainer := strings.CutPrefix(r.URL.Path, containerPath)
	fault, token := i.next()
	expires := time.Now().Add(i.lifetime).UTC().Format(time.RFC3339)
	switch {
	case fault.answer != nil:
		fault.answer(w, r, !isContainer)
	case isContainer:
		writeJSON(w, http.StatusOK, map[string]string{
			"AccessKeyId": name, "SecretAccessKey": "secret", "Token": token, "Expiration": expires,
		})
	default:
		i.assumeRole(w, r, token, expires)
	}
}

// next counts a request, and returns what happens to it and the token that it gets.
func (i *Issuer) next() (f IssuerFault, token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hits++
	i.issued++
	if i.fault.expired {
		i.expired = i.issued
	}
	return i.fault, tokenPrefix + strconv.Itoa(i.issued)
}

// assumeRole performs AssumeRoleWithWebIdentity.
func (i *Issuer) assumeRole(w http.ResponseWriter, r *http.Request, token, expires string) {
	body, err := readBody(w, r)
	request := form{body}
	if action := request.get("Action"); err != nil || action != "AssumeRoleWithWebIdentity" {
		refuseRole(w, true, http.StatusBadRequest, "InvalidAction", "fakeaws does not know the STS action "+action)
		return
	}
	credentials := list("Credentials", text("AccessKeyId", request.get("RoleSessionName")),
		text("SecretAccessKey", "secret"),
		text("SessionToken", token), text("Expiration", expires))
	writeXML(w, http.StatusOK, list("AssumeRoleWithWebIdentityResponse",
		list("AssumeRoleWithWebIdentityResult", credentials),
		list("ResponseMetadata", text("RequestId", i.identify.uuid()))))
}

func writeJSON(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}

func writeXML(w http.ResponseWriter, status int, content element) {
	var b bytes.Buffer
	content.appendTo(&b)
	w.Header().Set("Content-Type", xmlType)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
