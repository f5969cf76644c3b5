package e2e_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

// TestABusyAggregateIsKilledAtEachStep: before the statement has reached the server, and after
// that, while its answer is on the way.
func TestABusyAggregateIsKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for step, statement := range deferralSteps {
		for name, answered := range map[string]bool{"before": false, "after": true} {
			t.Run(step+"/"+name, func(t *testing.T) {
				t.Parallel()
				checkBusyKilledAt(t, statement, answered)
			})
		}
	}
}

func checkBusyKilledAt(t *testing.T, statement string, answered bool) {
	b := newBusy(t, newTestEnv(t, "orders.fifo"))
	b.env = []string{"RELAY_WINDOW_EVENTS=50"}
	between, through := b.newNetwork()
	stop := between.HoldBack(statement)
	p := b.startStreaming(append(b.env, "DATABASE_URL="+through)...)
	// On a slow machine the aggregate could catch up before the relay notices that it is behind.
	slow := b.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(100*time.Millisecond))
	b.burst(1001, 1100)
	b.await(stop)
	slow.Clear()
	b.write(1, 20)
	if answered {
		between.Silence(faultproxy.Server)
		stop.Pass()
		time.Sleep(50 * time.Millisecond) // it has arrived, or the statement counts as lost
	}
	b.burst(1101, 1120)
	p.kill()
	between.Close()
	b.write(21, 40)
	b.burst(1121, 1140)
	b.startStreaming(b.env...)
	b.burst(1141, 1160)
	b.awaitAll(200)
	b.awaitState("")
	b.write(41, 60)
	b.burst(1161, 1180)
	b.awaitAll(240)
}
