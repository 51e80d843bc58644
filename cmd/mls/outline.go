package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// An outline is what a message looks like to a reader: named values in order, printed as indented text
// or as a JSON object. Values are strings, numbers, booleans, raw bytes, outlines and lists of these.
type outline []item

type item struct {
	name  string
	value any
}

// raw is a public byte string: hex in JSON, shortened hex in text.
type raw []byte

// drawing is text of several lines, such as a tree.
type drawing string

func (o *outline) add(name string, value any) { *o = append(*o, item{name, value}) }

// MarshalJSON implements json.Marshaler, keeping the order.
func (o outline) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, it := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(it.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(it.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// MarshalJSON implements json.Marshaler.
func (r raw) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(r)) }

// maxShown is how many bytes of a byte string the text form shows.
const maxShown = 16

// String shortens r.
func (r raw) String() string {
	switch {
	case len(r) == 0:
		return "(empty)"
	case len(r) <= maxShown:
		return hex.EncodeToString(r)
	}
	return fmt.Sprintf("%x… (%d bytes)", []byte(r[:maxShown]), len(r))
}

// writeText writes the text form.
func (o outline) writeText(w io.Writer) error {
	var b bytes.Buffer
	o.text(&b, "")
	_, err := w.Write(b.Bytes())
	return err
}

func (o outline) text(b *bytes.Buffer, indent string) {
	for _, it := range o {
		writeItem(b, indent, it.name+":", it.value)
	}
}

func writeItem(b *bytes.Buffer, indent, head string, value any) {
	switch v := value.(type) {
	case outline:
		fmt.Fprintf(b, "%s%s\n", indent, head)
		v.text(b, indent+"  ")
	case []outline:
		writeList(b, indent, head, len(v), func(i int) any { return v[i] })
	case []string:
		if len(v) == 0 {
			fmt.Fprintf(b, "%s%s none\n", indent, head)
			return
		}
		fmt.Fprintf(b, "%s%s %s\n", indent, head, strings.Join(v, ", "))
	case []raw:
		writeList(b, indent, head, len(v), func(i int) any { return v[i] })
	case drawing:
		fmt.Fprintf(b, "%s%s\n", indent, head)
		for line := range strings.Lines(string(v)) {
			fmt.Fprintf(b, "%s  %s\n", indent, strings.TrimRight(line, "\n"))
		}
	default:
		fmt.Fprintf(b, "%s%s %v\n", indent, head, v)
	}
}

func writeList(b *bytes.Buffer, indent, head string, n int, at func(int) any) {
	if n == 0 {
		fmt.Fprintf(b, "%s%s none\n", indent, head)
		return
	}
	fmt.Fprintf(b, "%s%s %d\n", indent, head, n)
	for i := range n {
		writeItem(b, indent+"  ", fmt.Sprintf("[%d]", i), at(i))
	}
}
