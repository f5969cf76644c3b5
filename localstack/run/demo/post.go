package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// order is an order that the API accepted.
type order struct {
	id   string
	took time.Duration
}

// postOrders posts orders one after the other and then closes posted.
func postOrders(ctx context.Context, api string, count int, posted chan<- order) error {
	defer close(posted)
	for n := range count {
		o, err := post(ctx, api, n+1)
		if err != nil {
			return fmt.Errorf("post order %d: %w", n+1, err)
		}
		select {
		case posted <- o:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// post creates an order with text outside of ASCII, so that a change of encoding on the way is
// found.
func post(ctx context.Context, api string, n int) (order, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := json.Marshal(map[string]any{
		"customer_id": fmt.Sprintf("customer-%d", n),
		"currency":    "EUR",
		"lines":       []map[string]any{{"sku": "café <№ 1> & \"more\"", "quantity": n, "unit_price": 1999}},
	})
	if err != nil {
		return order{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/orders", bytes.NewReader(body))
	if err != nil {
		return order{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	sent := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return order{}, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return order{}, err
	}
	if response.StatusCode != http.StatusCreated {
		return order{}, fmt.Errorf("the API says %s: %s", response.Status, answer)
	}
	var created struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &created); err != nil {
		return order{}, fmt.Errorf("read the API's answer: %w", err)
	}
	return order{id: created.ID, took: time.Since(sent).Round(100 * time.Microsecond)}, nil
}
