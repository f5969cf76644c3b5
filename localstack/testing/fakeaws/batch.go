package fakeaws

import (
	"strconv"
	"strings"
)

// batch is the content of one Publish, PublishBatch, SendMessage or SendMessageBatch.
type batch struct {
	target  string // queue URL or topic ARN
	entries []entry
	single  bool // no batch action: the only entry has no Id
}

// entry is one message of a request.
type entry struct {
	id        string
	structure string // MessageStructure
	delay     *int   // DelaySeconds
	hasGroup  bool   // the request has a MessageGroupId, possibly empty
	hasDedup  bool
	message   Message
}

// result is the outcome of one entry.
type result struct {
	id            string
	messageID     string
	sequence      string
	bodyMD5       string // SQS only
	attributesMD5 string
	failure       *apiError // an entry of the answer's list Failed
}

func (b *batch) size() int {
	total := 0
	for i := range b.entries {
		total += b.entries[i].message.Size()
	}
	return total
}

// sentBy records the sender of each message. b is nil for a request that sends nothing.
func (b *batch) sentBy(accessKeyID string) {
	if b == nil {
		return
	}
	for i := range b.entries {
		b.entries[i].message.Sender = accessKeyID
	}
}

// checkIDs applies the checks on the entries' ids that both services make first.
func (b *batch) checkIDs(newError func(shape, format string, args ...any) *apiError) error {
	if b.single {
		return nil
	}
	if len(b.entries) == 0 {
		return newError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	}
	if n := len(b.entries); n > 10 {
		return newError("TooManyEntriesInBatchRequest",
			"Maximum number of entries per request are 10. You have sent %d.", n)
	}
	for i := range b.entries {
		id := b.entries[i].id
		if !validEntryID(id) {
			return newError("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, "+
				"hyphens and underscores. It can be at most 80 letters long.")
		}
		for j := range i {
			if b.entries[j].id == id {
				return newError("BatchEntryIdsNotDistinct", "Id %s repeated.", id)
			}
		}
	}
	return nil
}

func validEntryID(id string) bool {
	for i := range len(id) {
		if c := id[i] | 0x20; (c < 'a' || c > 'z') && (id[i] < '0' || id[i] > '9') && id[i] != '-' && id[i] != '_' {
			return false
		}
	}
	return id != "" && len(id) <= 80
}

// validToken reports whether id is valid as a MessageGroupId or MessageDeduplicationId: printable
// ASCII without spaces.
func validToken(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

func seconds(text string) int {
	n, _ := strconv.Atoi(text) // validated when the attribute was set
	return n
}

// nameOf returns the last part of a queue URL or an ARN.
func nameOf(target string) string {
	return target[strings.LastIndexAny(target, "/:")+1:]
}
