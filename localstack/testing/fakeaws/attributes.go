package fakeaws

import (
	"strconv"
	"strings"
)

// validAttributeName applies both services' rules for the name of a message attribute.
func validAttributeName(name string) bool {
	lower := strings.ToLower(name)
	if name == "" || len(name) > 255 || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") ||
		name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return false
	}
	for i := range len(lower) {
		c := lower[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// validDataType reports whether t is String, Number or Binary, with or without a custom label after
// a dot.
func validDataType(t string) bool {
	base, label, labelled := strings.Cut(t, ".")
	return (base == "String" || base == "Number" || base == "Binary") && (!labelled || label != "") && len(t) <= 256
}

func validNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && !strings.ContainsAny(text, "xXnN_pP")
}
