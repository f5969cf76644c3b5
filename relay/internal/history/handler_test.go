package history

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// TestEachRequestEndsInItsTime: the database does not answer, and the requests wait for one
// another.
func TestEachRequestEndsInItsTime(t *testing.T) {
	t.Parallel()
	h := &Handler{Open: func(ctx context.Context) (*pgxpool.Pool, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	began := time.Now()
	var asking sync.WaitGroup
	for range 5 {
		asking.Go(func() {
			answer := httptest.NewRecorder()
			h.Last(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events", nil))
			if answer.Code != http.StatusServiceUnavailable {
				t.Errorf("the answer has status %d", answer.Code)
			}
		})
	}
	asking.Wait()
	if took := time.Since(began); took > 2*findTimeout {
		t.Errorf("the last answer came after %v", took)
	}
}
