package preflight

import (
	"context"
	"errors"
	"net"
)

// Listen checks that the address for probes and metrics is free, by listening on it for a moment.
func Listen(ctx context.Context, address string, progress Progress) Findings {
	return Requirement{"RELAY_LISTEN", func(ctx context.Context) Findings {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return Findings{ListenError(address, err)}
		}
		_ = listener.Close()
		return Findings{passed(CodeListen, "address "+address, "RELAY_LISTEN %s is free", address)}
	}}.Run(ctx, progress)
}

// ListenError is the finding of an address that cannot be listened on. It is never transient: an address that is taken does
// not become free by waiting.
func ListenError(address string, err error) Finding {
	if cause := (*net.OpError)(nil); errors.As(err, &cause) {
		err = cause
	}
	return failed(CodeListen, "address "+address, "RELAY_LISTEN %q: %v: name another address, or nothing for no probes and no metrics", address, err)
}
