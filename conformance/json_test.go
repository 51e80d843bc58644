package conformance

import (
	"slices"
	"strings"
	"testing"
)

func TestParseCasesRefuses(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"no cases", `[]`, "no cases"},
		{"an object at the top", `{"a":1}`, "not an array"},
		{"a case that is no object", `[{"a":1},2]`, "case 1 is not an object"},
		{"data after the array", `[{"a":1}] {}`, "data after"},
		{"a name twice", `[{"a":1,"a":1}]`, `"a" twice`},
		{"a name twice, deep down", `[{"a":[{"b":1,"b":2}]}]`, `"b" twice`},
		{"a file cut short", `[{"a":1}`, "EOF"},
		{"a file cut short within a case", `[{"a":`, "EOF"},
		{"an empty file", ``, "EOF"},
		{"no JSON", `[{a:1}]`, "invalid character"},
		{"too many brackets", strings.Repeat("[", 1<<20), "too deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseCases([]byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// parseOne returns the one case of a file.
func parseOne(t *testing.T, data string) *node {
	t.Helper()
	cases, err := parseCases([]byte("[" + data + "]"))
	if err != nil {
		t.Fatal(err)
	}
	return cases[0]
}

// caught returns what a check stopped with, nil if it went through.
func caught(check func()) (failed *failure) {
	defer func() {
		if r := recover(); r != nil {
			failed = r.(*failure)
		}
	}()
	check()
	return nil
}

func TestNodeGetters(t *testing.T) {
	const data = `{"hex":"00ff","odd":"0","text":"x","big":4294967296,"neg":-1,"frac":1.5,"null":null,"list":[{"a":1}],"true":true}`
	for _, tt := range []struct {
		name, field string
		get         func(*node)
	}{
		{"a field that is not there", "absent", func(n *node) { n.get("absent") }},
		{"a field that is not there, deep down", "list[0].b", func(n *node) { n.get("list").list()[0].get("b") }},
		{"odd hexadecimal", "odd", func(n *node) { n.get("odd").bytes() }},
		{"other letters", "text", func(n *node) { n.get("text").bytes() }},
		{"a number too large", "big", func(n *node) { n.get("big").u32() }},
		{"a negative number", "neg", func(n *node) { n.get("neg").u32() }},
		{"a fraction", "frac", func(n *node) { n.get("frac").u32() }},
		{"null for a string", "null", func(n *node) { n.get("null").str() }},
		{"a boolean for a number", "true", func(n *node) { n.get("true").u32() }},
		{"a number for a string", "big", func(n *node) { n.get("big").str() }},
		{"an array for an object", "list", func(n *node) { n.get("list").get("a") }},
		{"an object for an array", "", func(n *node) { n.list() }},
		{"other bytes", "hex", func(n *node) { n.get("hex").equal([]byte{0, 254}) }},
		{"fewer bytes", "hex", func(n *node) { n.get("hex").equal(nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := caught(func() { tt.get(parseOne(t, data)) })
			if f == nil || f.field != tt.field {
				t.Fatalf("stopped with %+v, want a failure of %q", f, tt.field)
			}
			if strings.Contains(f.why, "00ff") {
				t.Errorf("the reason %q holds the value", f.why)
			}
		})
	}
	if f := caught(func() {
		c := parseOne(t, data)
		c.get("hex").equal([]byte{0, 255})
		if _, ok := c.get("null").optional(); ok {
			t.Error("null is a number")
		}
		if c.get("big").uint(64) != 1<<32 {
			t.Error("a number of 33 bits is another")
		}
	}); f != nil {
		t.Errorf("%+v", f)
	}
}

func TestUnread(t *testing.T) {
	c := parseOne(t, `{"a":"00","b":{"c":"00","d":{"e":1}},"f":[{"g":1},{"g":2}],"h":[],"i":null,"j":{}}`)
	c.get("a").bytes()
	c.get("b").get("c").bytes()
	c.get("f").list()[1].get("g").u32()
	want := []string{"b.d", "f[0]", "h", "i", "j"}
	if got := c.unread(); !slices.Equal(got, want) {
		t.Errorf("unread %q, want %q", got, want)
	}
	c.get("b").get("d").get("e").u32()
	c.get("f").list()[0].get("g").u32()
	c.get("h").list()
	if c.get("i").null() != true || c.get("a").null() {
		t.Error("null is not what it is")
	}
	caught(func() { c.get("j").get("k") })
	if got := c.unread(); len(got) > 0 {
		t.Errorf("unread %q, want none", got)
	}
}

// TestNullLooksAreNotReads: asking whether a value is null reads nothing else.
func TestNullLooksAreNotReads(t *testing.T) {
	c := parseOne(t, `{"a":"00"}`)
	if c.get("a").null() {
		t.Fatal("a string is null")
	}
	if got := c.unread(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("unread %q, want a", got)
	}
}
