package sqs

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/schemas"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

var sendMessageBatch = smithy.NewOperationSchema(schemas.SendMessageBatch, schemas.SendMessageBatchRequest, schemas.SendMessageBatchResult)

// answerReader reads the answers to SendMessageBatch.
type answerReader struct{ sdk smithyhttp.ClientProtocol }

// read returns what SQS says about each entry. Unless it says that it took every message, which is read without a copy,
// the answer is left to the SDK.
func (r answerReader) read(ctx context.Context, answer *transport.Answer, batch []*sink.Message) ([]sink.Result, error) {
	if answer.Status == http.StatusOK {
		o := newOutcome(batch)
		if scan(answer.Body, func(e success) { o.accepted(string(e.id), string(e.bodyMD5)) }) == nil {
			return o.Results()
		}
	}
	var decoded sqs.SendMessageBatchOutput
	err := r.sdk.DeserializeResponse(ctx, sendMessageBatch, sqs.TypeRegistry, &smithyhttp.Response{Response: &http.Response{
		StatusCode: answer.Status, Header: answer.Header, Body: io.NopCloser(bytes.NewReader(answer.Body)),
	}}, &decoded)
	if err != nil {
		return nil, answer.Error("", err)
	}
	return results(batch, &decoded)
}

// outcome collects what an answer says about a batch.
type outcome struct {
	*sink.Answer
	batch []*sink.Message
	sum   hash.Hash
	piece []byte // of a body, on its way into sum: a conversion of the whole would allocate
}

func newOutcome(batch []*sink.Message) *outcome {
	return &outcome{sink.NewAnswer(len(batch)), batch, md5.New(), make([]byte, 512)}
}

// accepted stores that the queue holds the entry id, with a body of this checksum. One that is another than was sent is
// sent once more: the body is valid UTF-8 ([sink.Validate]), so that no encoder changed it here, and a consumer is owed the
// event as written.
func (o *outcome) accepted(id, bodyMD5 string) {
	var err error
	if i := o.Position(id); i >= 0 && !o.isChecksum(bodyMD5, o.batch[i].Body) {
		err = &sink.BrokerError{Code: "ChecksumMismatch", Reason: "the queue accepted the message with another body than was sent"}
	}
	o.Set(id, err)
}

func (o *outcome) isChecksum(text, body string) bool {
	o.sum.Reset()
	for len(body) > 0 {
		n := copy(o.piece, body)
		_, _ = o.sum.Write(o.piece[:n]) // never fails
		body = body[n:]
	}
	sum := o.sum.Sum(o.piece[:0])
	hexadecimal := hex.AppendEncode(sum, sum)[len(sum):]
	return text == string(hexadecimal)
}
