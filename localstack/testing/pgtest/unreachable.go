package pgtest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// withCause adds the reason why a server was unreachable. The library names only the server.
func withCause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	_, url, found := strings.Cut(err.Error(), "unable to connect to ")
	if !found {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, requestErr := http.NewRequestWithContext(ctx, http.MethodHead, strings.TrimSpace(url), nil)
	if requestErr != nil {
		return err
	}
	response, cause := http.DefaultClient.Do(request)
	if cause != nil {
		return fmt.Errorf("%w: %w", err, cause)
	}
	defer response.Body.Close()
	return err // it answers now
}
