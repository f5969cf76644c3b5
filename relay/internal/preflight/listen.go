package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Listen checks that the address of probes and metrics is free, by listening on it for a moment.
func Listen(ctx context.Context, address string, progress Progress) Findings {
	return Requirement{"RELAY_LISTEN", func(ctx context.Context) Findings {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE) && isRelay(ctx, address):
			return Findings{passed(CodeListen, "address "+address,
				"a relay serves its probes on RELAY_LISTEN %s", address)}
		case err != nil:
			return Findings{ListenError(address, err)}
		}
		_ = listener.Close()
		return Findings{passed(CodeListen, "address "+address, "RELAY_LISTEN %s is free", address)}
	}}.Run(ctx, progress)
}

// ListenError is the finding of an address on which the relay cannot listen. It is never transient,
// because a retry does not free the address.
func ListenError(address string, err error) Finding {
	if cause := (*net.OpError)(nil); errors.As(err, &cause) {
		err = cause
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return failed(CodeListen, "address "+address, "RELAY_LISTEN %q is in use: end the process that listens "+
			"there, which may be another relay, or choose another address", address)
	}
	return failed(CodeListen, "address "+address, "RELAY_LISTEN %q: %v: set an address as in :9464, or nothing to "+
		"serve no probes and metrics", address, err)
}

// isRelay reports whether a relay serves its probes on this address. The check may run beside a
// running relay in the same container.
func isRelay(ctx context.Context, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	probe := "http://" + net.JoinHostPort(host, port) + "/livez"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var report struct {
		State string `json:"state"`
	}
	return json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&report) == nil && report.State != ""
}
