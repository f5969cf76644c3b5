package procgroup_test

import (
	"net"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// TestAFreePortIsGivenToNoOther: neither to another caller, nor to a listener without a port.
func TestAFreePortIsGivenToNoOther(t *testing.T) {
	t.Parallel()
	free := map[int]bool{}
	for range 500 {
		port, err := procgroup.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if free[port] {
			t.Fatalf("port %d is returned twice", port)
		}
		free[port] = true
	}
	for range 500 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		if port := listener.Addr().(*net.TCPAddr).Port; free[port] {
			t.Fatalf("the system gives port %d to another listener", port)
		}
	}
}
