package sink

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Codes of AWS for a message that it refuses.
const (
	codeInvalidContents  = "InvalidMessageContents"
	codeInvalidParameter = "InvalidParameterValue"
	codeInvalidArgument  = "InvalidArgument" // EventBridge
)

// maxNumberDigits is the precision of a Number attribute.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
const maxNumberDigits = 38

// maxAttributeName: the manual allows up to 256 characters. The service refuses 256 bytes and more.
const maxAttributeName = 255

var number = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$`)

// Validate returns why no destination with these limits accepts m, with the code of AWS, or nil.
// The rules of SQS apply to topics and buses too: a message that these accept and their queues
// refuse would be lost without a trace.
func Validate(m *Message, limits Limits) *RejectedError {
	if m.Body == "" {
		return refuse(codeInvalidParameter, "the message is empty")
	}
	if !outbox.ValidText(m.Body) {
		return refuse(codeInvalidContents, "the message has characters other than "+
			"#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF, or is not UTF-8")
	}
	if err := validateAttributes(m.Attributes, limits); err != nil {
		return err
	}
	if err := validateID("MessageGroupId", m.GroupID); err != nil {
		return err
	}
	if group := m.MessageGroupID(limits.FIFO); group != "" && group != m.GroupID {
		if err := validateID("MessageGroupId", group); err != nil {
			return err
		}
	}
	if limits.FIFO {
		if err := validateID("MessageDeduplicationId", m.DeduplicationID); err != nil {
			return err
		}
	}
	if limits.Entry != nil {
		if err := limits.Entry.validate(m); err != nil {
			return err
		}
	}
	return validateSize(m, limits)
}

func validateSize(m *Message, limits Limits) *RejectedError {
	if limits.MaxMessageBytes == math.MaxInt { // the caller knows the size
		return nil
	}
	if size := limits.Size(m); size > limits.MaxMessageBytes {
		return refuse(codeInvalidParameter, "the message has %d bytes with its attributes, the destination accepts %d",
			size, limits.MaxMessageBytes)
	}
	return nil
}

func refuse(code, format string, args ...any) *RejectedError {
	return &RejectedError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

func validateAttributes(attributes []Attribute, limits Limits) *RejectedError {
	if n := len(attributes); n > outbox.MaxAttributes {
		return refuse(codeInvalidParameter, "the message has %d attributes, at most %d are allowed", n,
			outbox.MaxAttributes)
	}
	for i := range attributes {
		a := &attributes[i]
		if err := a.validate(); err != nil {
			return err
		}
		if limits.OneLine && !a.IsOneLine() {
			return refuse(codeInvalidContents,
				"attribute %q has a tab or a line break: the topic may deliver the message to no subscription",
				a.Name)
		}
		for k := range i {
			if attributes[k].Name == a.Name {
				return refuse(codeInvalidParameter, "the message has two attributes %q", a.Name)
			}
		}
	}
	return nil
}

// IsOneLine reports whether the value of a has neither a tab nor a line break.
func (a *Attribute) IsOneLine() bool {
	for i := range len(a.Value) { // nearly all values are short: strings.ContainsAny costs more
		if c := a.Value[i]; c < ' ' && (c == '\t' || c == '\n' || c == '\r') {
			return false
		}
	}
	return true
}

func (a *Attribute) validate() *RejectedError {
	switch {
	case !outbox.ValidAttributeName(a.Name) || len(a.Name) > maxAttributeName:
		return refuse(codeInvalidParameter, "the attribute name %q is not allowed", a.Name)
	case a.DataType.String() == "":
		return refuse(codeInvalidParameter, "attribute %q is neither String nor Number", a.Name)
	case a.Value == "":
		return refuse(codeInvalidParameter, "attribute %q is empty", a.Name)
	case !outbox.ValidText(a.Value):
		return refuse(codeInvalidContents, "attribute %q has characters that no message may hold", a.Name)
	case a.DataType == Number && !validNumber(a.Value):
		return refuse(codeInvalidParameter, "attribute %q is not a number of at most %d digits", a.Name,
			maxNumberDigits)
	}
	return nil
}

func validNumber(s string) bool {
	if isInteger(s) { // as every seq is: no further check is needed
		return true
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	digits := len(strings.TrimLeft(mantissa, "+-")) - strings.Count(mantissa, ".")
	return digits <= maxNumberDigits && number.MatchString(s)
}

// isInteger reports whether s consists of digits.
func isInteger(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= maxNumberDigits
}

// validateID checks a MessageGroupId or MessageDeduplicationId: 1 to 128 letters, digits and ASCII
// punctuation, which is every printable ASCII character except the space.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func validateID(parameter, id string) *RejectedError {
	if id == "" || len(id) > 128 {
		return refuse(codeInvalidParameter, "%s has %d characters, 1 to 128 are allowed", parameter, len(id))
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return refuse(codeInvalidParameter,
				"%s has a character other than letters, digits and ASCII punctuation", parameter)
		}
	}
	return nil
}
