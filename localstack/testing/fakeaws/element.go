package fakeaws

import (
	"bytes"
	"encoding/xml"
)

// element is an XML element with a text or with children. An element without a name is only its
// children.
type element struct {
	name     string
	text     string
	children []element
}

func text(name, value string) element               { return element{name: name, text: value} }
func list(name string, children ...element) element { return element{name: name, children: children} }

func (e element) appendTo(b *bytes.Buffer) {
	if e.name != "" {
		b.WriteString("<" + e.name + ">")
		defer b.WriteString("</" + e.name + ">")
	}
	_ = xml.EscapeText(b, []byte(e.text)) // a buffer never fails
	for _, child := range e.children {
		child.appendTo(b)
	}
}
