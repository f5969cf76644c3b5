package queue

import "time"

// DeduplicationWindow is the time for which a FIFO destination remembers a MessageDeduplicationId,
// even if the message was received and deleted.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-key-terms.html
const DeduplicationWindow = 5 * time.Minute

// Deduplication stores the messages of the last five minutes by their deduplication id.
type Deduplication struct {
	limit int // of stored ids; 0: no limit
	seen  map[scoped]*Message
	order []remembered // oldest first
}

// scoped is a deduplication id with its scope: a group, or everything if group is empty.
type scoped struct{ group, id string }

type remembered struct {
	scoped
	until time.Time
}

// NewDeduplication returns an empty Deduplication for at most limit ids, or without a limit if
// limit is 0.
func NewDeduplication(limit int) *Deduplication {
	return &Deduplication{limit: limit, seen: map[scoped]*Message{}}
}

// Repeats returns the message that m repeats. If there is none, it stores m.
func (d *Deduplication) Repeats(m *Message, byGroup bool, now time.Time) *Message {
	d.expire(now)
	key := scoped{id: m.DeduplicationID}
	if byGroup {
		key.group = m.GroupID
	}
	if earlier := d.seen[key]; earlier != nil {
		return earlier
	}
	d.seen[key] = m
	d.order = append(d.order, remembered{key, now.Add(DeduplicationWindow)})
	return nil
}

func (d *Deduplication) expire(now time.Time) {
	for len(d.order) > 0 && (!d.order[0].until.After(now) || d.limit > 0 && len(d.order) >= d.limit) {
		delete(d.seen, d.order[0].scoped)
		d.order[0] = remembered{}
		d.order = d.order[1:]
	}
}
