package fakeaws

import (
	"bytes"
	"strconv"
)

const snsNamespace = "http://sns.amazonaws.com/doc/2010-03-31/"

// callSNS decodes the request of an SNS action.
func (s *Server) callSNS(f form) (*call, error) {
	action := f.get("Action")
	switch action {
	case "Publish", "PublishBatch":
		b, err := decodePublish(f, action == "Publish")
		if err != nil {
			return nil, err
		}
		return &call{action: action, destination: nameOf(b.target), batch: b, perform: func(p *plan) ([]byte, error) {
			results, err := s.publish(b, p)
			if err != nil {
				return nil, err
			}
			return s.answerPublish(action, b.single, p.edit(results))
		}}, nil
	}
	destination := f.get("TopicArn")
	if destination == "" {
		destination = f.get("Name")
	}
	return &call{action: action, destination: nameOf(destination), perform: func(*plan) ([]byte, error) {
		result, err := s.performSNS(action, f)
		if err != nil {
			return nil, err
		}
		return s.answerSNS(action, result.appendTo), nil
	}}, nil
}

func (s *Server) performSNS(action string, f form) (element, error) {
	switch action {
	case "CreateTopic":
		return s.createTopic(f)
	case "DeleteTopic":
		return s.deleteTopic(f)
	case "ListTopics":
		return s.listTopics(f)
	case "GetTopicAttributes":
		return s.getTopicAttributes(f)
	case "SetTopicAttributes":
		return s.setTopicAttributes(f)
	case "Subscribe":
		return s.subscribe(f)
	case "Unsubscribe":
		return s.unsubscribe(f)
	case "ListSubscriptionsByTopic":
		return s.listSubscriptionsByTopic(f)
	}
	return element{}, snsError("InvalidAction", "fakeaws does not know the SNS action %s", action)
}

// answerSNS returns the body of an answer, with the result that write adds.
func (s *Server) answerSNS(action string, write func(*bytes.Buffer)) []byte {
	var b bytes.Buffer
	b.Grow(2048)
	b.WriteString("<" + action + `Response xmlns="` + snsNamespace + `"><` + action + "Result>")
	write(&b)
	b.WriteString("</" + action + "Result><ResponseMetadata><RequestId>" + s.identify.uuid() +
		"</RequestId></ResponseMetadata></" + action + "Response>")
	return b.Bytes()
}

// answerPublish returns the body of the answer to a Publish or PublishBatch. Only a batch can
// report a failure and a success together.
func (s *Server) answerPublish(action string, single bool, results []result) ([]byte, error) {
	if !single {
		return s.answerSNS(action, func(b *bytes.Buffer) { writeResults(b, results) }), nil
	}
	if failure := results[0].failure; failure != nil {
		return nil, failure
	}
	return s.answerSNS(action, func(b *bytes.Buffer) { writeAccepted(b, &results[0]) }), nil
}

func writeResults(b *bytes.Buffer, results []result) {
	b.WriteString("<Successful>")
	for i := range results {
		if results[i].failure == nil {
			b.WriteString("<member><Id>" + results[i].id + "</Id>")
			writeAccepted(b, &results[i])
			b.WriteString("</member>")
		}
	}
	b.WriteString("</Successful><Failed>")
	for i := range results {
		if f := results[i].failure; f != nil {
			list("member", text("Id", results[i].id), text("Code", f.code), text("Message", f.message),
				text("SenderFault", strconv.FormatBool(!f.receiver))).appendTo(b)
		}
	}
	b.WriteString("</Failed>")
}

func writeAccepted(b *bytes.Buffer, r *result) {
	b.WriteString("<MessageId>" + r.messageID + "</MessageId>")
	if r.sequence != "" {
		b.WriteString("<SequenceNumber>" + r.sequence + "</SequenceNumber>")
	}
}
