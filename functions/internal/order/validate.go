package order

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an order. Together they keep every event below the 256 KiB of an SNS message.
// https://docs.aws.amazon.com/general/latest/gr/sns.html
const (
	MaxLines      = 500
	MaxSKU        = 64  // characters
	MaxCustomerID = 128 // characters
	// MaxAmount is the largest integer that every JSON parser represents exactly.
	// https://www.rfc-editor.org/rfc/rfc8259#section-6
	MaxAmount = 1<<53 - 1
)

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// Problem is one error in a draft.
type Problem struct {
	Pointer string // to the field: a JSON pointer (RFC 6901)
	Detail  string
}

// Validate returns every error in the draft.
func (d Draft) Validate() []Problem {
	var problems []Problem
	report := func(pointer, detail string) {
		if detail != "" {
			problems = append(problems, Problem{Pointer: pointer, Detail: detail})
		}
	}
	report("/customer_id", checkName(d.CustomerID, MaxCustomerID))
	if !currencyCode.MatchString(d.Currency) {
		report("/currency", "must be an ISO 4217 code: three capital letters")
	}
	if len(d.Lines) == 0 || len(d.Lines) > MaxLines {
		report("/lines", fmt.Sprintf("must have 1 to %d lines", MaxLines))
	}
	valid := len(problems)
	for i, line := range d.Lines {
		at := fmt.Sprintf("/lines/%d", i)
		report(at+"/sku", checkName(line.SKU, MaxSKU))
		report(at+"/quantity", checkAmount(line.Quantity, 1))
		report(at+"/unit_price", checkAmount(line.UnitPrice, 0))
	}
	if valid == len(problems) {
		if _, ok := d.Total(); !ok {
			report("/lines", fmt.Sprintf("must not come to a total of more than %d", MaxAmount))
		}
	}
	return problems
}

// Total returns the sum of all lines, or false if it exceeds [MaxAmount]. Quantities must be at
// least 1 and prices at least 0.
func (d Draft) Total() (total int64, ok bool) {
	for _, line := range d.Lines {
		room := MaxAmount - total
		if line.UnitPrice > room/line.Quantity {
			return 0, false
		}
		total += line.Quantity * line.UnitPrice
	}
	return total, true
}

// checkName accepts the letters of any language and refuses characters that break logs, message
// attributes or comparisons.
func checkName(name string, longest int) string {
	switch {
	case name == "" || utf8.RuneCountInString(name) > longest:
		return fmt.Sprintf("must have 1 to %d characters", longest)
	case strings.TrimSpace(name) != name:
		return "must not begin or end with a space"
	// Invalid UTF-8 decodes to the replacement character.
	case strings.ContainsFunc(name, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }):
		return "must have printable characters only"
	}
	return ""
}

func checkAmount(amount, least int64) string {
	if amount < least || amount > MaxAmount {
		return fmt.Sprintf("must be %d to %d", least, MaxAmount)
	}
	return ""
}
