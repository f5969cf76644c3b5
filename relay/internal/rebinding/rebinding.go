// Package rebinding keeps web sites from reading a server that serves only its own machine. A site
// that the operator visits can resolve its own name to 127.0.0.1 (DNS rebinding). The browser then
// sends the site's requests to the server, and lets the site read the answers.
package rebinding

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Guard refuses requests that name another host than this machine.
type Guard struct {
	Handler http.Handler
	Name    string // another name of this machine, beside localhost; may be empty
	// Probes are paths of which a request with another name gets the status, and no body. A load
	// balancer or a supervisor may name this machine as it likes.
	Probes []string
}

// ServeHTTP implements [http.Handler].
func (g Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.isOfThisMachine(r.Host):
		g.Handler.ServeHTTP(w, r)
	case slices.Contains(g.Probes, r.URL.Path):
		g.Handler.ServeHTTP(statusOnly{w}, r)
	default:
		http.Error(w, "this address serves its own machine: name it 127.0.0.1 or localhost, and let a proxy do so "+
			"in the header Host", http.StatusMisdirectedRequest)
	}
}

// isOfThisMachine reports whether no site's name is in the header Host. A site has a name, so an
// address in its place is none. A browser always sends the header.
func (g Guard) isOfThisMachine(header string) bool {
	host, _, err := net.SplitHostPort(header)
	if err != nil { // without a port
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || host == "" || strings.EqualFold(host, "localhost") || strings.EqualFold(host, g.Name)
}

// statusOnly writes no body.
type statusOnly struct{ http.ResponseWriter }

// Write implements [io.Writer].
func (statusOnly) Write(p []byte) (int, error) { return len(p), nil }
