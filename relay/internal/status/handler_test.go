package status

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// TestAllWhoAskShareOneLook: the database does not answer, and the client that asked first leaves.
func TestAllWhoAskShareOneLook(t *testing.T) {
	t.Parallel()
	h := &Handler{Slot: "slot", Open: func(ctx context.Context) (*pgxpool.Pool, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	began := time.Now()
	var asking sync.WaitGroup
	ask := func(ctx context.Context) {
		asking.Go(func() {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "/status", nil))
			if answer.Code != http.StatusServiceUnavailable {
				t.Errorf("the answer has status %d", answer.Code)
			}
		})
	}
	leaving, leave := context.WithCancel(t.Context())
	ask(leaving)
	for range 5 {
		ask(t.Context())
	}
	time.AfterFunc(time.Second, leave)
	asking.Wait()
	if took := time.Since(began); took > 2*collectTimeout {
		t.Errorf("the last answer came after %v, and a look takes %v", took, collectTimeout)
	}
}
