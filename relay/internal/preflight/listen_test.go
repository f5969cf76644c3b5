package preflight_test

import (
	"net"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

func TestAddressThatCannotBeListenedOnIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for address, says := range map[string]string{
		taken.Addr().String(): "is in use", ":99999": "99999", "localhost": "missing port",
	} {
		found := preflight.Listen(t.Context(), address, preflight.Progress{})
		expect(t, found, preflight.CodeListen, preflight.Error, "RELAY_LISTEN", says)
		if preflight.OnlyTransient(found.Err()) {
			t.Errorf("%s: the relay would wait for the address", address)
		}
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if found := preflight.Listen(t.Context(), taken.Addr().String(), preflight.Progress{}); found.Err() != nil {
		t.Errorf("an address that is free again: %v", found)
	}
}
