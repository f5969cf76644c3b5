package sink

import "strconv"

// Brokers other than AWS leave attributes of queues and topics out, give them empty, or write them in a way of their own.

// SizeOf returns the value of an attribute that holds a number of bytes, and whether it holds one. Else it is byDefault.
func SizeOf(text string, byDefault int) (size int, told bool) {
	size, err := strconv.Atoi(text)
	if err != nil || size <= 0 {
		return byDefault, false
	}
	return size, true
}

// FlagOf returns the value of an attribute that is true or false, in whatever case. Else it is byDefault.
func FlagOf(text string, byDefault bool) bool {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return byDefault
	}
	return value
}
