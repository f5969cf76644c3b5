package fakeaws

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// sqsQueue is a queue with its names and attributes.
type sqsQueue struct {
	name, url, arn string
	fifo           bool
	messages       *queue.Queue
	journal        journal
	created        time.Time

	mu         sync.Mutex
	attributes map[string]string
	modified   time.Time

	maxMessageBytes           atomic.Int64 // copied from attributes for every message
	contentBasedDeduplication atomic.Bool
}

func (s *Server) newQueue(name string, attributes map[string]string) *sqsQueue {
	arn := "arn:aws:sqs:" + s.options.Region + ":" + s.options.Account + ":" + name
	q := &sqsQueue{
		name: name, fifo: strings.HasSuffix(name, ".fifo"), created: s.options.Now(), modified: s.options.Now(),
		url:     s.url + "/" + s.options.Account + "/" + name,
		arn:     arn,
		journal: journal{retain: s.options.Retain, tell: s.tell(arn)},
	}
	q.attributes = fullAttributes(q.fifo, attributes)
	q.messages = queue.New(s.settings(q, q.attributes), queue.Hooks{
		Now: s.options.Now, Sequence: s.identify.sequenceNumber, Accepted: q.journal.add, Retain: s.options.Retain,
	})
	q.readAttributes()
	return q
}

// readAttributes copies the attributes that every message needs. The caller holds mu or has the
// only reference.
func (q *sqsQueue) readAttributes() {
	q.maxMessageBytes.Store(int64(seconds(q.attributes["MaximumMessageSize"])))
	q.contentBasedDeduplication.Store(q.attributes["ContentBasedDeduplication"] == "true")
}

// findQueue returns the queue of a queue URL.
func (s *Server) findQueue(url string) (*sqsQueue, error) {
	if url == "" {
		return nil, sqsError("MissingRequiredParameterException", "The request must contain the parameter QueueUrl.")
	}
	s.mu.RLock()
	q := s.queues[nameOf(url)]
	s.mu.RUnlock()
	if q == nil || !strings.HasSuffix(url, "/"+s.options.Account+"/"+q.name) {
		return nil, sqsError("QueueDoesNotExist", "The specified queue does not exist.")
	}
	return q, nil
}

func (s *Server) queueByARN(arn string) *sqsQueue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if q := s.queues[nameOf(arn)]; q != nil && q.arn == arn {
		return q
	}
	return nil
}

func (s *Server) createQueue(r *sqsRequest) (any, error) {
	fifo := strings.HasSuffix(r.QueueName, ".fifo")
	if !queueNames.MatchString(r.QueueName) || fifo != (r.Attributes["FifoQueue"] == "true") {
		return nil, invalidValue("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in " +
			"length; the name of a FIFO queue, and of no other, ends in .fifo.")
	}
	if err := s.checkQueueAttributes(fifo, r.Attributes); err != nil {
		return nil, err
	}
	created := s.newQueue(r.QueueName, r.Attributes)
	s.mu.Lock()
	existing := s.queues[r.QueueName]
	if existing == nil {
		s.queues[r.QueueName] = created
	}
	s.mu.Unlock()
	if existing != nil && !existing.has(r.Attributes) {
		return nil, sqsError("QueueNameExists", "A queue already exists with the same name and a different value "+
			"for an attribute")
	}
	return map[string]string{"QueueUrl": created.url}, nil
}

func (q *sqsQueue) has(attributes map[string]string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, value := range attributes {
		if q.attributes[name] != value {
			return false
		}
	}
	return true
}

func (s *Server) getQueueURL(r *sqsRequest) (any, error) {
	s.mu.RLock()
	q := s.queues[r.QueueName]
	s.mu.RUnlock()
	if q == nil || r.QueueOwnerAWSAccountID != "" && r.QueueOwnerAWSAccountID != s.options.Account {
		return nil, sqsError("QueueDoesNotExist", "The specified queue does not exist.")
	}
	return map[string]string{"QueueUrl": q.url}, nil
}

func (s *Server) listQueues(r *sqsRequest) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var urls []string
	for name, q := range s.queues {
		if strings.HasPrefix(name, r.QueueNamePrefix) {
			urls = append(urls, q.url)
		}
	}
	slices.Sort(urls)
	return map[string][]string{"QueueUrls": urls}, nil
}

func (s *Server) deleteQueue(r *sqsRequest) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	delete(s.queues, q.name)
	s.mu.Unlock()
	return nothing, nil
}

func (s *Server) purgeQueue(r *sqsRequest) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	q.messages.Purge()
	return nothing, nil
}

func (s *Server) getQueueAttributes(r *sqsRequest) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	all := q.allAttributes()
	if slices.Contains(r.AttributeNames, "All") {
		return map[string]any{"Attributes": all}, nil
	}
	selected := map[string]string{}
	for _, name := range r.AttributeNames {
		value, ok := all[name]
		switch _, settable := attributeRanges[name]; {
		case ok:
			selected[name] = value
		case !settable && attributeChoices[name] == nil && name != "RedrivePolicy" &&
			!slices.Contains(freeAttributes, name):
			return nil, sqsError("InvalidAttributeName", "Unknown Attribute %s.", name)
		}
	}
	return map[string]any{"Attributes": selected}, nil
}

func (q *sqsQueue) allAttributes() map[string]string {
	visible, inFlight, delayed := q.messages.Counts()
	q.mu.Lock()
	defer q.mu.Unlock()
	all := maps.Clone(q.attributes)
	all["QueueArn"] = q.arn
	all["CreatedTimestamp"] = strconv.FormatInt(q.created.Unix(), 10)
	all["LastModifiedTimestamp"] = strconv.FormatInt(q.modified.Unix(), 10)
	all["ApproximateNumberOfMessages"] = strconv.Itoa(visible)
	all["ApproximateNumberOfMessagesNotVisible"] = strconv.Itoa(inFlight)
	all["ApproximateNumberOfMessagesDelayed"] = strconv.Itoa(delayed)
	return all
}

func (s *Server) setQueueAttributes(r *sqsRequest) (any, error) {
	q, err := s.findQueue(r.QueueURL)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	changed := maps.Clone(q.attributes)
	for name, value := range r.Attributes {
		changed[name] = value
		if value == "" {
			delete(changed, name)
		}
	}
	if r.Attributes["FifoQueue"] != "" && !q.fifo {
		return nil, sqsError("InvalidAttributeValue", "Invalid value for the parameter FifoQueue. Reason: Modifying "+
			"queue type is not supported.")
	}
	if err := s.checkQueueAttributes(q.fifo, changed); err != nil {
		return nil, err
	}
	q.attributes = fullAttributes(q.fifo, changed)
	q.modified = s.options.Now()
	q.readAttributes()
	q.messages.Configure(s.settings(q, q.attributes))
	return nothing, nil
}
