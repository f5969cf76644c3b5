package relay_test

import "testing"

func TestSlotThatWasMadeAgainBeforeItWasTakenLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders")
	through := newProxy(t, w.url)
	taking := through.holdBack("START_REPLICATION")
	w.start("DATABASE_URL=" + through.url)
	<-taking.reached // the relay has made the slot and read its snapshot
	w.exec(`SELECT pg_drop_replication_slot($1)`, w.slot)
	w.commit(event(t, "1", `{"between":true}`))
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
	close(taking.pass)
	w.awaitBody(`{"between":true}`)
}
