package sqs

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/schemas"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

var sendMessageBatch = smithy.NewOperationSchema(schemas.SendMessageBatch, schemas.SendMessageBatchRequest,
	schemas.SendMessageBatchResult)

// answerReader reads the answers to SendMessageBatch.
type answerReader struct{ sdk smithyhttp.ClientProtocol }

// read returns the result of each entry. It reads an answer that accepts every message without a
// copy, and leaves any other to the SDK.
func (r answerReader) read(
	ctx context.Context,
	answer *transport.Answer,
	id sink.RequestID,
	batch []*sink.Message,
) ([]sink.Result, error) {
	if answer.Status == http.StatusOK {
		o := newOutcome(id, batch)
		if scan(answer.Body,
			func(e success) { o.accepted(string(e.id), string(e.bodyMD5), sink.NewMessageID(e.messageID)) }) == nil {
			return o.Results()
		}
	}
	var decoded sqs.SendMessageBatchOutput
	err := r.sdk.DeserializeResponse(
		ctx,
		sendMessageBatch,
		sqs.TypeRegistry,
		&smithyhttp.Response{Response: &http.Response{
			StatusCode: answer.Status, Header: answer.Header(), Body: io.NopCloser(bytes.NewReader(answer.Body)),
		}},
		&decoded,
	)
	if err != nil {
		return nil, answer.Error("", err)
	}
	return results(id, batch, &decoded)
}

// outcome collects the results of a batch.
type outcome struct {
	*sink.Answer
	batch    []*sink.Message
	checksum *checksum
}

func newOutcome(id sink.RequestID, batch []*sink.Message) outcome {
	return outcome{sink.NewAnswer(id, len(batch)), batch, checksums.Get().(*checksum)}
}

// Results returns the results and releases memory.
func (o *outcome) Results() ([]sink.Result, error) {
	checksums.Put(o.checksum)
	return o.Answer.Results()
}

// accepted stores that the queue holds the entry id, with a body of this checksum. An entry with
// another checksum is sent again. The body is valid UTF-8 ([sink.Validate]), so no encoder of the
// relay changed it, and a consumer is owed the event as written. Brokers other than AWS omit the
// checksum, or leave it empty. The SDK's own validation passes such an entry too.
func (o *outcome) accepted(id, bodyMD5 string, message sink.MessageID) {
	var err error
	if i := o.Position(id); i >= 0 && bodyMD5 != "" && !o.checksum.is(bodyMD5, o.batch[i].Body) {
		err = &sink.AlteredError{Reason: "the queue accepted the message with another body than was sent"}
	}
	o.Set(id, err)
	o.Named(id, message)
}

// checksum is the memory in which the checksum of a body is computed.
type checksum struct {
	sum   hash.Hash
	piece []byte // of the body, on its way into sum: converting all of it would allocate
}

var checksums = sync.Pool{New: func() any { return &checksum{md5.New(), make([]byte, 512)} }}

// is reports whether text is the MD5 of body.
func (c *checksum) is(text, body string) bool {
	c.sum.Reset()
	for len(body) > 0 {
		n := copy(c.piece, body)
		_, _ = c.sum.Write(c.piece[:n]) // never fails
		body = body[n:]
	}
	sum := c.sum.Sum(c.piece[:0])
	hexadecimal := hex.AppendEncode(sum, sum)[len(sum):]
	return text == string(hexadecimal)
}
