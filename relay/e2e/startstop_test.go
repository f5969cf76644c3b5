package e2e_test

import (
	"syscall"
	"testing"
	"time"
)

// A router that forgot a connection drops its packets without an answer. Postgres' driver waits
// fifteen seconds for the end of such a connection.
func TestStartEndsThoughItsNetworkIsGone(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	between, through := w.newNetwork()
	check := between.HoldBack("LEFT JOIN pg_publication p")
	p := w.start("DATABASE_URL=" + through)
	w.await(check)
	between.Forget()
	w.must(p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(13 * time.Second):
		t.Error("the relay did not end within 13 s")
	}
}
