package queue

import (
	"container/heap"
	"context"
	"encoding/base64"
	"fmt"
	"time"
)

// Delivery is one receipt of a message.
type Delivery struct {
	*Message
	ReceiptHandle string
	Receives      int
	FirstReceived time.Time
}

// Request are the parameters of a receive.
type Request struct {
	Max        int
	Visibility time.Duration // negative: the queue's default
	Wait       time.Duration
}

// Receive returns at most r.Max messages. It waits until a message is visible, r.Wait is over, or
// ctx is done.
func (q *Queue) Receive(ctx context.Context, r Request) []Delivery {
	end := time.Now().Add(r.Wait)
	for {
		deliveries, changed, pause := q.tryReceive(r)
		left := time.Until(end)
		if len(deliveries) > 0 || left <= 0 {
			return deliveries
		}
		timer := time.NewTimer(min(left, pause))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// tryReceive takes visible messages. If there are none, changed is closed when one may have become
// visible, and pause is the time until the next message becomes visible by itself.
func (q *Queue) tryReceive(r Request) (deliveries []Delivery, changed <-chan struct{}, pause time.Duration) {
	q.mu.Lock()
	now := q.hooks.Now()
	q.wake(now)
	var dead []*Message
	for len(deliveries) < r.Max {
		items := q.backlog.take(r.Max - len(deliveries))
		if len(items) == 0 {
			break
		}
		for _, it := range items {
			if q.exhausted(it) {
				dead = append(dead, it.Message)
				delete(q.received, it.number)
				q.backlog.release(it)
				continue
			}
			deliveries = append(deliveries, q.deliver(it, r.Visibility, now))
		}
	}
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	changed, pause = q.changed, q.pause(now)
	deadLetter := q.settings.DeadLetter
	q.mu.Unlock()
	if len(dead) > 0 { // without the lock, because two queues can be each other's dead-letter queue
		deadLetter(dead)
	}
	return deliveries, changed, pause
}

func (q *Queue) exhausted(it *item) bool {
	return q.settings.MaxReceiveCount > 0 && it.receives >= q.settings.MaxReceiveCount
}

// pause returns the time until a message becomes visible by itself.
func (q *Queue) pause(now time.Time) time.Duration {
	if len(q.invisible) == 0 {
		return time.Minute
	}
	return max(time.Millisecond, q.invisible[0].visibleAt.Sub(now))
}

func (q *Queue) deliver(it *item, visibility time.Duration, now time.Time) Delivery {
	if visibility < 0 {
		visibility = q.settings.VisibilityTimeout
	}
	it.receives++
	if it.receives == 1 {
		it.firstReceived = now
	}
	it.visibleAt = now.Add(visibility)
	heap.Push(&q.invisible, it)
	q.received[it.number] = it
	return Delivery{
		Message: it.Message, ReceiptHandle: it.handle(), Receives: it.receives, FirstReceived: it.firstReceived,
	}
}

func (it *item) handle() string {
	return base64.URLEncoding.EncodeToString(fmt.Appendf(nil, "receipt %d %d", it.number, it.receives))
}

// find returns the message of a receipt handle, or nil if the message was deleted. Only on a
// standard queue does a handle stay valid after a later receipt.
func (q *Queue) find(handle string) (*item, error) {
	text, err := base64.URLEncoding.DecodeString(handle)
	if err != nil {
		return nil, ErrReceiptHandle
	}
	var number uint64
	var receives int
	if _, err := fmt.Sscanf(string(text), "receipt %d %d", &number, &receives); err != nil || number > q.last {
		return nil, ErrReceiptHandle
	}
	it := q.received[number]
	if it != nil && q.settings.FIFO && (it.receives != receives || it.timer < 0) {
		return nil, ErrReceiptHandle
	}
	return it, nil
}

// Delete removes the message of a receipt handle. Deleting it twice is no error.
func (q *Queue) Delete(handle string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wake(q.hooks.Now())
	it, err := q.find(handle)
	if err != nil || it == nil {
		return err
	}
	q.remove(it)
	q.signal() // the next message of its group may have become visible
	return nil
}

func (q *Queue) remove(it *item) {
	delete(q.received, it.number)
	if it.timer < 0 {
		q.backlog.forget(it)
		return
	}
	heap.Remove(&q.invisible, it.timer)
	q.backlog.release(it)
}

// ChangeVisibility makes the message of a receipt handle visible after this time.
func (q *Queue) ChangeVisibility(handle string, after time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.hooks.Now()
	q.wake(now)
	it, err := q.find(handle)
	if err != nil {
		return err
	}
	if it == nil || it.timer < 0 {
		return ErrNotInFlight
	}
	it.visibleAt = now.Add(after)
	heap.Fix(&q.invisible, it.timer)
	q.wake(now)
	q.signal()
	return nil
}
