package order

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an order. Together they keep every event under the 256 KiB that an SNS message has by default.
// https://docs.aws.amazon.com/general/latest/gr/sns.html
const (
	MaxLines      = 500
	MaxSKU        = 64  // characters
	MaxCustomerID = 128 // characters
	// MaxAmount is the largest whole number that every JSON reader takes exactly.
	// https://www.rfc-editor.org/rfc/rfc8259#section-6
	MaxAmount = 1<<53 - 1
)

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// Problem is one thing that is wrong with a draft.
type Problem struct {
	Pointer string // to the field: a JSON pointer (RFC 6901)
	Detail  string
}

// Validate returns everything that is wrong with the draft.
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

// Total returns the sum of all lines, or false if it is more than [MaxAmount]. Quantities must be at least 1 and prices at least 0.
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

// checkName takes any language's letters and refuses what breaks logs, message attributes or comparisons.
func checkName(name string, longest int) string {
	switch {
	case name == "" || utf8.RuneCountInString(name) > longest:
		return fmt.Sprintf("must have 1 to %d characters", longest)
	case strings.TrimSpace(name) != name:
		return "must not begin or end with a space"
	// The replacement character is what broken text decodes to.
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
