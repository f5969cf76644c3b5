package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Listener is the address of probes and metrics, as the relay of a slot listens on it.
type Listener struct {
	Address string
	Slot    string
	Pool    *pgxpool.Pool // of the database of the slot; nil if that does not answer
}

// Check checks that the address is free, by listening on it for a moment. The relay of the same
// slot may listen there: the check may run beside it in its container.
func (l Listener) Check(ctx context.Context, progress Progress) Findings {
	return Requirement{"RELAY_LISTEN", func(ctx context.Context) Findings {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.Address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return Findings{l.used(ctx)}
		case err != nil:
			return Findings{ListenError(l.Address, err)}
		}
		_ = listener.Close()
		return Findings{passed(CodeListen, "address "+l.Address, "RELAY_LISTEN %s is free", l.Address)}
	}}.Run(ctx, progress)
}

// used is the finding of an address on which another process listens.
func (l Listener) used(ctx context.Context) Finding {
	object := "address " + l.Address
	there, isRelay := l.ask(ctx)
	switch {
	case !isRelay:
		return ListenError(l.Address, syscall.EADDRINUSE)
	case there.Slot == l.Slot && l.reports(ctx, there.Instance):
		return passed(CodeListen, object, "the relay of this slot serves its probes on RELAY_LISTEN %s", l.Address)
	case there.Slot == l.Slot:
		return failed(CodeListen, object, "RELAY_LISTEN %q is in use by a relay of slot %s that has not reported to "+
			"this database: choose another address", l.Address, there.Slot)
	case there.Slot == "":
		return failed(CodeListen, object, "RELAY_LISTEN %q is in use by a relay that does not name its slot: choose "+
			"another address", l.Address)
	}
	return failed(CodeListen, object, "RELAY_LISTEN %q is in use by the relay of slot %s: choose another address",
		l.Address, there.Slot)
}

// reports reports whether this process reports as a relay of the slot to the database. Two
// databases may each have a slot of the same name. A database that does not answer is a finding of
// its own, and no reason to doubt the relay.
func (l Listener) reports(ctx context.Context, instance string) (reports bool) {
	if l.Pool == nil {
		return true
	}
	err := l.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM relay_instances WHERE slot_name = $1 AND instance = $2)`,
		l.Slot, instance).Scan(&reports)
	return err == nil && reports
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

// probed is the part of a probe by which a relay names itself.
type probed struct {
	Slot     string `json:"slot"`
	Instance string `json:"instance"`
	State    string `json:"state"`
}

// ask asks the process that listens on the address, and reports whether it is a relay.
func (l Listener) ask(ctx context.Context) (there probed, isRelay bool) {
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return there, false
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	probe := "http://" + net.JoinHostPort(host, port) + "/livez"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
	if err != nil {
		return there, false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return there, false
	}
	defer response.Body.Close()
	err = json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&there)
	return there, err == nil && there.State != ""
}
