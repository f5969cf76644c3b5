package sink

import "strconv"

// Brokers other than AWS omit attributes of queues and topics, leave them empty, or write them
// differently.

// SizeOf returns the value of an attribute that holds a number of bytes, and whether it holds one.
// Otherwise it returns byDefault.
func SizeOf(text string, byDefault int) (size int, known bool) {
	size, err := strconv.Atoi(text)
	if err != nil || size <= 0 {
		return byDefault, false
	}
	return size, true
}

// FlagOf returns the value of an attribute that is true or false, in any case. Otherwise it returns
// byDefault.
func FlagOf(text string, byDefault bool) bool {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return byDefault
	}
	return value
}
