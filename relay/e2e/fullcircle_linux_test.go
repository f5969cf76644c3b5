package e2e_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// fullCircle posts orders and reads their shipments: API, Postgres, relay, topic, queue, consumer
// and Postgres again. Every process but the broker is killed.
type fullCircle struct {
	*testEnv
	server  *pgtest.Server
	relay   *process
	outputs messaging.Outputs
	api     functions
	posted  atomic.Int64 // orders that the API has accepted
	killed  int          // processes of functions
}

// TestEveryOrderHasExactlyOneShipment kills relay, functions and Postgres at random while clients
// post orders. Then each event is replayed, so each arrives twice or more. CIRCLE_ORDERS and
// CIRCLE_KILLS set the size.
func TestEveryOrderHasExactlyOneShipment(t *testing.T) {
	t.Parallel()
	orders, kills := number(t, "CIRCLE_ORDERS", 150), number(t, "CIRCLE_KILLS", 6)
	c := newFullCircle(t)
	began := time.Now()
	posting, ctx := errgroup.WithContext(t.Context())
	posting.SetLimit(8)
	accepted := make(chan error, 1)
	go func() {
		for i := range orders {
			posting.Go(func() error { return c.post(ctx, i) })
		}
		accepted <- posting.Wait()
	}()
	for kill := range kills {
		c.within(time.Hour, "more orders are accepted", func() bool {
			return c.posted.Load() >= int64((kill+1)*orders/(kills+2))
		})
		time.Sleep(rand.N(200 * time.Millisecond)) // a kill at a random moment
		c.kill(kill)
	}
	c.must(<-accepted)
	c.within(time.Hour, "each order has a shipment", func() bool { return c.shipped() == orders })
	shipped := time.Since(began)
	first := c.broker.ReceivedCount(c.outputs.Shipments.QueueArn)
	c.awaitDelivered()
	c.replay("--since", "24h", "--rate", "2000", "--yes")
	c.within(time.Hour, "the queue of the shipments is empty", func() bool {
		return messagesOf(c.testEnv, c.outputs.Shipments.QueueUrl) == 0
	})
	if n := messagesOf(c.testEnv, c.outputs.Shipments.DeadLetterQueueUrl); n != 0 {
		t.Errorf("%d events were given up", n)
	}
	c.checkShipments(orders)
	if c.killed == 0 {
		t.Error("no process of a function was killed")
	}
	t.Logf("%d orders, %d kills: all shipped after %v; %d messages arrived before the replay of all events and %d "+
		"with it", orders, kills, shipped.Round(time.Millisecond), first,
		c.broker.ReceivedCount(c.outputs.Shipments.QueueArn))
}

func newFullCircle(t *testing.T) *fullCircle {
	t.Helper()
	server := newServer(t)
	c := &fullCircle{testEnv: newTestEnvOn(t, server.URL("relay", "relay"), "unused.fifo"), server: server}
	c.outputs = c.createMessaging()
	// A killed function or database costs a visibility timeout and a receive, which are a minute
	// and one of ten on AWS.
	client := sqs.NewFromConfig(messaging.Config(c.broker.URL()))
	_, err := client.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl:   &c.outputs.Shipments.QueueUrl,
		Attributes: map[string]string{"VisibilityTimeout": "2"},
	})
	c.must(err)
	c.api = startFunctions(t, c.testEnv, withShipments(c.testEnv, c.outputs))
	c.relay = c.startRelay()
	return c
}

func (c *fullCircle) startRelay() *process {
	c.t.Helper()
	return c.start("RELAY_START=table", "RELAY_DESTINATION="+c.outputs.TopicArn)
}

// post posts an order until the API accepts it. The key makes repeated requests one order.
func (c *fullCircle) post(ctx context.Context, i int) error {
	body := fmt.Sprintf(`{"customer_id":"customer-%d","currency":"EUR",`+
		`"lines":[{"sku":"book","quantity":1,"unit_price":1}]}`, i)
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.api.url+"/orders", strings.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", strconv.Itoa(i))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		answer, _ := io.ReadAll(response.Body)
		response.Body.Close()
		switch {
		case response.StatusCode == http.StatusCreated || response.StatusCode == http.StatusOK:
			c.posted.Add(1)
			return nil
		case response.StatusCode < http.StatusInternalServerError:
			return fmt.Errorf("POST /orders: %s: %s", response.Status, answer)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// kill kills one part with SIGKILL: each of the three in turn at first, then a random one.
func (c *fullCircle) kill(n int) {
	c.t.Helper()
	if n >= 3 {
		n = rand.IntN(3)
	}
	switch n {
	case 0:
		c.relay.kill()
		c.relay = c.startRelay()
	case 1:
		c.killFunctions()
	case 2:
		c.must(c.server.Kill())
		c.must(c.server.Restart(c.t.Context()))
	}
}

// killFunctions kills every process of the functions. The gateway starts them again with the next
// request, as Lambda does.
func (c *fullCircle) killFunctions() {
	c.t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	c.must(err)
	for _, link := range links {
		program, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(program, c.api.dir) {
			continue // of another user, or ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		c.must(err)
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			c.killed++
		}
	}
}

// shipped returns the number of orders that have a shipment, or -1 while the database restarts.
func (c *fullCircle) shipped() int {
	n := -1
	_ = c.pool.QueryRow(c.t.Context(), `SELECT count(DISTINCT order_id) FROM shipments`).Scan(&n)
	return n
}

func (c *fullCircle) checkShipments(orders int) {
	c.t.Helper()
	for question, want := range map[string]int{
		`SELECT count(*)::text FROM orders`:                                                 orders,
		`SELECT count(*)::text FROM shipments`:                                              orders,
		`SELECT count(*)::text FROM orders JOIN shipments ON order_id = orders.id`:          orders,
		`SELECT count(*)::text FROM outbox_events JOIN inbox_events ON id::text = event_id`: orders,
	} {
		if got := c.query(question); got != strconv.Itoa(want) {
			c.t.Errorf("%s: %s, want %d", question, got, want)
		}
	}
}
