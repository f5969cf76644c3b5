package bench

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// sendMessageBatch writes the answer of SQS to a request with only valid messages, with the
// checksum of each body. It searches for text without its first quote: [bytes.Index] is faster if
// the first byte is rare.
func (s *service) sendMessageBatch() error {
	s.answer = append(s.answer, `{"Successful":[`...)
	entries := 0
	for rest := s.body; ; entries++ {
		entry, after, found := bytes.Cut(rest, []byte(`MessageBody":"`))
		if rest = after; !found {
			break
		}
		end := endOfString(rest)
		if end < 0 {
			return errors.New("a body without an end")
		}
		if entries > 0 {
			s.answer = append(s.answer, ',')
		}
		s.answer = append(s.answer, `{"Id":"`...)
		s.answer = append(s.answer, lastBetween(entry, `"Id":"`, '"')...)
		s.answer = append(s.answer, `","MessageId":"5fea7756-0ea4-451a-a703-a558b933e274","MD5OfMessageBody":"`...)
		sum, err := s.sum(rest[:end])
		if err != nil {
			return err
		}
		s.answer = append(append(s.answer, sum...), `"}`...)
		rest = rest[end:]
	}
	s.answer = append(s.answer, `]}`...)
	// The sequence is the only number among the attributes.
	return s.accept(entries, `Number","StringValue":"`, "")
}

// lastBetween returns the text after the last mark and before end. The id of an entry stands close
// before its body, and far behind the start of the previous one.
func lastBetween(text []byte, mark string, end byte) []byte {
	at := bytes.LastIndex(text, []byte(mark))
	if at < 0 {
		return nil
	}
	text = text[at+len(mark):]
	if at := bytes.IndexByte(text, end); at >= 0 {
		return text[:at]
	}
	return text
}

// endOfString returns the end of the JSON string at the start of text.
func endOfString(text []byte) int {
	for at := 0; ; at++ {
		quote := bytes.IndexByte(text[at:], '"')
		if quote < 0 {
			return -1
		}
		at += quote
		backslashes := 0
		for at-backslashes > 0 && text[at-backslashes-1] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return at
		}
	}
}

func (s *service) sum(escaped []byte) (string, error) {
	if sum, ok := s.sums[string(escaped)]; ok {
		return sum, nil
	}
	var body string
	if err := json.Unmarshal([]byte(`"`+string(escaped)+`"`), &body); err != nil {
		return "", err
	}
	sum := md5.Sum([]byte(body))
	text := hex.EncodeToString(sum[:])
	s.sums[string(escaped)] = text
	return text, nil
}

// publishBatch writes the answer of SNS to a request with only valid messages.
func (s *service) publishBatch() error {
	s.answer = append(s.answer, `<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">`+
		`<PublishBatchResult><Failed/><Successful>`...)
	entries := 0
	for rest := s.body; ; entries++ {
		id, after, found := nextEntry(rest)
		if !found {
			break
		}
		s.answer = append(s.answer, `<member><MessageId>5fea7756-0ea4-451a-a703-a558b933e274</MessageId><Id>`...)
		s.answer = append(s.answer, id...)
		s.answer = append(s.answer, `</Id></member>`...)
		rest = after
	}
	s.answer = append(s.answer, `</Successful></PublishBatchResult><ResponseMetadata>`+
		`<RequestId>5fea7756</RequestId></ResponseMetadata></PublishBatchResponse>`...)
	return s.accept(entries, "Name=sequence&", "StringValue=")
}

// nextEntry returns the id of the next entry of a form, and the rest of the form after it. It reads
// the form once, and searches for a rare letter, to save processor time on the shared machine.
func nextEntry(form []byte) (id, rest []byte, found bool) {
	for {
		before, after, found := bytes.Cut(form, []byte("Id="))
		if !found {
			return nil, nil, false
		}
		if bytes.HasSuffix(before, []byte{'.'}) { // and not MessageGroupId
			id, rest, _ = bytes.Cut(after, []byte{'&'})
			return id, rest, true
		}
		form = after
	}
}

// accept waits for the latency and records the events of a request. Their sequences follow the
// marks.
func (s *service) accept(entries int, mark, then string) error {
	s.sequences = s.sequences[:0]
	for rest := s.body; ; {
		var found bool
		if _, rest, found = bytes.Cut(rest, []byte(mark)); !found {
			break
		}
		if then != "" {
			_, rest, _ = bytes.Cut(rest, []byte(then))
		}
		n := 0
		for ; len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
			n = 10*n + int(rest[0]-'0')
		}
		s.sequences = append(s.sequences, n)
	}
	if len(s.sequences) != entries {
		return fmt.Errorf("%d events with %d sequences", entries, len(s.sequences))
	}
	arrived := time.Now()
	if s.broker.Latency > 0 {
		time.Sleep(s.broker.Latency)
	}
	s.broker.record(s.sequences, arrived.UnixNano())
	return nil
}
