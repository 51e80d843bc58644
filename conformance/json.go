package conformance

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/treekem/mls"
)

// A node is one JSON value of a case, with an account of whether a check has
// read it. The getters stop the check (see [failure]) when the value is not of
// the kind asked for, so that a check is a straight list of steps.
//
// A node is not safe for concurrent use.
type node struct {
	path   string // from the case's root: "epochs[2].exporter.secret"
	kind   byte   // one of { [ " 0 t n, as JSON writes them
	fields map[string]*node
	names  []string // of fields, in the order of the file
	items  []*node
	text   string // of a string or a number
	read   bool
}

// A failure is what a check stops with: the field, and why. It is thrown as a
// panic and caught by runCase, as testing.T.Fatal leaves a test.
type failure struct{ field, why string }

// parseCases decodes a file: one array of objects, nothing after it, no name
// twice in an object.
func parseCases(data []byte) ([]*node, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	root, err := parseNode(d, maxDepth)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the array of cases")
	}
	if root.kind != '[' {
		return nil, errors.New("not an array of cases")
	}
	if len(root.items) == 0 {
		return nil, errors.New("no cases")
	}
	for i, c := range root.items {
		if c.kind != '{' {
			return nil, fmt.Errorf("case %d is not an object", i)
		}
		c.rename("")
	}
	return root.items, nil
}

// maxDepth bounds how deep values nest: the formats go down to 6.
const maxDepth = 32

func parseNode(d *json.Decoder, depth int) (*node, error) {
	if depth == 0 {
		return nil, errors.New("values nest too deep")
	}
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	n := new(node)
	switch v := token.(type) {
	case json.Delim:
		n.kind = byte(v)
		if v == '[' {
			return n, n.parseItems(d, depth-1)
		}
		return n, n.parseFields(d, depth-1)
	case string:
		n.kind, n.text = '"', v
	case json.Number:
		n.kind, n.text = '0', v.String()
	case bool:
		n.kind = 't'
	case nil:
		n.kind = 'n'
	}
	return n, nil
}

func (n *node) parseItems(d *json.Decoder, depth int) error {
	for d.More() {
		item, err := parseNode(d, depth)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := d.Token()
	return err
}

func (n *node) parseFields(d *json.Decoder, depth int) error {
	n.fields = make(map[string]*node)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder allows nothing else here
		if n.fields[name] != nil {
			return fmt.Errorf("field %q twice in one object", name)
		}
		v, err := parseNode(d, depth)
		if err != nil {
			return err
		}
		n.fields[name] = v
		n.names = append(n.names, name)
	}
	_, err := d.Token()
	return err
}

// rename sets the paths of n and of all below it.
func (n *node) rename(path string) {
	n.path = path
	for i, item := range n.items {
		item.rename(fmt.Sprintf("%s[%d]", path, i))
	}
	for _, name := range n.names {
		below := name
		if path != "" {
			below = path + "." + name
		}
		n.fields[name].rename(below)
	}
}

// fail stops the case at n.
func (n *node) fail(format string, args ...any) {
	panic(&failure{n.path, fmt.Sprintf(format, args...)})
}

// must stops the case at n if err is not nil.
func (n *node) must(err error) {
	if err != nil {
		n.fail("%v", err)
	}
}

func (n *node) want(kind byte, what string) {
	n.read = true
	if n.kind != kind {
		n.fail("not %s", what)
	}
}

// get returns the field of that name, which must be there.
func (n *node) get(name string) *node {
	n.want('{', "an object")
	v := n.fields[name]
	if v == nil {
		missing := node{path: name}
		if n.path != "" {
			missing.path = n.path + "." + name
		}
		missing.fail("missing")
	}
	return v
}

// list returns the items of an array.
func (n *node) list() []*node {
	n.want('[', "an array")
	return n.items
}

// null reports whether n is null. Only then does n count as read.
func (n *node) null() bool {
	n.read = n.read || n.kind == 'n'
	return n.kind == 'n'
}

// str returns a string as it is.
func (n *node) str() string {
	n.want('"', "a string")
	return n.text
}

// bytes returns what a string of hexadecimal digits stands for.
func (n *node) bytes() []byte {
	b, err := hex.DecodeString(n.str())
	if err != nil {
		n.fail("not hexadecimal") // err would quote the field
	}
	return b
}

// secret is bytes, as a secret that the caller owns.
func (n *node) secret() mls.Secret { return mls.NewSecret(n.bytes()) }

// uint returns a number that has no sign and fits in bits.
func (n *node) uint(bits int) uint64 {
	n.want('0', "a number")
	v, err := strconv.ParseUint(n.text, 10, bits)
	if err != nil {
		n.fail("not a number of %d bits", bits)
	}
	return v
}

func (n *node) u32() uint32 { return uint32(n.uint(32)) }

// optional returns a number of 32 bits, or false for null.
func (n *node) optional() (uint32, bool) {
	if n.null() {
		return 0, false
	}
	return n.u32(), true
}

// leaf returns a leaf index.
func (n *node) leaf() mls.LeafIndex { return mls.LeafIndex(n.u32()) }

// suite returns the cipher suite that the case's field "cipher_suite" names.
// There is no skipping one that is not known.
func (n *node) suite() *mls.Suite {
	id := n.get("cipher_suite")
	s, err := mls.LookupSuite(mls.CipherSuite(id.uint(16)))
	id.must(err)
	return s
}

// equal stops the case unless the field holds got. It compares public known
// answers: constant time is not called for.
func (n *node) equal(got []byte) {
	if !bytes.Equal(n.bytes(), got) {
		n.fail("mismatch")
	}
}

// equalSecret is equal for a secret.
func (n *node) equalSecret(got mls.Secret) {
	if want := n.secret(); !got.Equal(want) {
		n.fail("mismatch")
	}
}

// unread returns the paths of what no check has read, in the file's order.
func (n *node) unread() []string {
	if !n.read {
		return []string{n.path}
	}
	var paths []string
	for _, item := range n.items {
		paths = append(paths, item.unread()...)
	}
	for _, name := range n.names {
		paths = append(paths, n.fields[name].unread()...)
	}
	return slices.Clip(paths)
}
