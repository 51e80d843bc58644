package treekem

import (
	"slices"

	"github.com/treekem/mls"
)

// newKeys are the nodes of a new tree that come with new keys, in the order in
// which they are checked.
type newKeys struct {
	tree     *Tree
	enc, sig []indexEntry
}

func (k *newKeys) leaf(i mls.LeafIndex, raw string) {
	k.parent(LeafNodeIndex(i), raw)
	k.sig = append(k.sig, newEntry(fingerprint(signatureKeyIn(raw)), LeafNodeIndex(i)))
}

func (k *newKeys) parent(x NodeIndex, raw string) {
	k.enc = append(k.enc, newEntry(fingerprint(encryptionKeyIn(raw)), x))
}

// install checks that no two nodes of the tree have one of the keys, and gives
// it the tables of old, which it comes from, with the new keys in them.
func (k *newKeys) install(old *Tree) error {
	k.tree.enc, k.tree.sig = old.enc, old.sig
	if err := k.check(); err != nil {
		return err
	}
	grown := old.enc.add(k.enc)
	if old.sig.add(k.sig) || grown {
		k.tree.dropStale()
	}
	return nil
}

func (k *newKeys) check() error {
	t := k.tree
	enc, sig := newKeyCheck(t, encryptionKeys, k.enc), newKeyCheck(t, signatureKeys, k.sig)
	for at, signer := 0, 0; at < len(k.enc); at++ {
		x := k.enc[at].node()
		if y, ok := enc.clash(at); ok {
			return duplicateKey(t, encryptionKeys, x, y)
		}
		if !x.IsLeaf() {
			continue
		}
		if y, ok := sig.clash(signer); ok {
			return duplicateKey(t, signatureKeys, x, y)
		}
		signer++
	}
	return nil
}

// A keyCheck looks for other nodes with a key that comes.
type keyCheck struct {
	tree    *Tree
	kind    keyKind
	entries []indexEntry
	// The first entry whose key an earlier one has, and which; -1 if none.
	repeat, first int
}

func newKeyCheck(t *Tree, kind keyKind, entries []indexEntry) *keyCheck {
	c := &keyCheck{tree: t, kind: kind, entries: entries, repeat: -1}
	if c.alike() {
		c.findRepeat()
	}
	return c
}

// alike reports whether two of the entries have one fingerprint.
func (c *keyCheck) alike() bool {
	var stack [32]uint32 // enough for a path
	fps := stack[:0]
	for _, e := range c.entries {
		fps = append(fps, e.fingerprint())
	}
	slices.Sort(fps)
	return len(slices.Compact(fps)) < len(c.entries)
}

func (c *keyCheck) findRepeat() {
	seen := make(map[string]int, len(c.entries))
	for k, e := range c.entries {
		key := c.kind.in(c.tree.rawAt(e.node()))
		if first, ok := seen[key]; ok {
			c.repeat, c.first = k, first
			return
		}
		seen[key] = k
	}
}

// clash returns another node with the key of an entry: one that comes earlier,
// or one that does not change.
func (c *keyCheck) clash(at int) (NodeIndex, bool) {
	if at == c.repeat {
		return c.entries[c.first].node(), true
	}
	x := c.entries[at].node()
	key := c.kind.in(c.tree.rawAt(x))
	return c.tree.findKey(c.kind, key, func(y NodeIndex) bool {
		return y != x && c.tree.hasKey(c.kind, y, key) && !c.comes(y)
	})
}

// comes reports whether a node is among the entries.
func (c *keyCheck) comes(x NodeIndex) bool {
	return slices.ContainsFunc(c.entries, func(e indexEntry) bool { return e.node() == x })
}

// dropStale gives the tree tables of its own if many entries of those that it
// shares are stale: more than one for two keys that a full tree has. The others
// go on with theirs, which have grown: so that this costs O(n) once in O(n) new
// keys, whoever stages them. The tables of a stored tree have only what came
// since it was opened.
func (t *Tree) dropStale() {
	if t.enc.len() < 3*t.Members() && 2*t.sig.len() < 3*t.Members() {
		return
	}
	if t.src != nil {
		t.enc = newKeyTable(t.enc.entries(func(e indexEntry) bool { return t.isKeyed(e, encryptionKeys) }))
		t.sig = newKeyTable(t.sig.entries(func(e indexEntry) bool { return t.isKeyed(e, signatureKeys) }))
		return
	}
	enc, sig := t.keyEntries()
	t.enc, t.sig = newKeyTable(enc), newKeyTable(sig)
}

// isKeyed reports whether an entry is that of a key in the tree.
func (t *Tree) isKeyed(e indexEntry, kind keyKind) bool {
	raw := t.rawAt(e.node())
	return raw != "" && fingerprint(kind.in(raw)) == e.fingerprint()
}

// keyEntries returns the entries of all keys in the tree.
func (t *Tree) keyEntries() (enc, sig []indexEntry) {
	members := t.Members()
	enc, sig = make([]indexEntry, 0, 2*members), make([]indexEntry, 0, members)
	t.eachNode(func(x NodeIndex, raw string) {
		enc = append(enc, newEntry(fingerprint(encryptionKeyIn(raw)), x))
		if x.IsLeaf() {
			sig = append(sig, newEntry(fingerprint(signatureKeyIn(raw)), x))
		}
	})
	return enc, sig
}

// duplicateKey is the error for nodes x and y of t with one key of a kind.
func duplicateKey(t *Tree, kind keyKind, x, y NodeIndex) error {
	if kind == signatureKeys {
		return duplicateSignatureKey(t, x.Leaf(), y.Leaf())
	}
	return duplicateEncryptionKey(t, x, y)
}

// duplicateEncryptionKey is the error for nodes x and y of t with one key.
func duplicateEncryptionKey(t *Tree, x, y NodeIndex) error {
	if x.IsLeaf() && y.IsLeaf() {
		// RFC 9420, Section 7.3: encryption_key is unique among the members.
		return mls.InvalidAt(t.culprit(x.Leaf()), "7.3", "encryption-key-unique",
			"leaf %d has the encryption key of leaf %d", x.Leaf(), y.Leaf())
	}
	if y.IsLeaf() {
		x, y = y, x
	}
	c := mls.Culprit{}
	if x.IsLeaf() {
		c = t.culprit(x.Leaf())
	}
	// RFC 9420, Section 12.4.3.1: the encryption key in a parent node does not
	// appear in any other node of the tree.
	return mls.InvalidAt(c, "12.4.3.1", "parent-key-unique", "nodes %d and %d have one encryption key", x, y)
}

func duplicateSignatureKey(t *Tree, i, j mls.LeafIndex) error {
	// RFC 9420, Section 7.3: signature_key is unique among the members.
	return mls.InvalidAt(t.culprit(i), "7.3", "signature-key-unique",
		"leaf %d has the signature key of leaf %d", i, j)
}

// culprit names the member at leaf i.
func (t *Tree) culprit(i mls.LeafIndex) mls.Culprit {
	c := mls.Culprit{Leaf: &i}
	if l, ok := t.Leaf(i); ok {
		c.Identity = l.Credential.String()
	}
	return c
}

// at names leaf i as the culprit of an error that names none.
func (t *Tree) at(i mls.LeafIndex, err error) error {
	if rule, ok := err.(*mls.RuleError); ok && rule.Culprit == nil {
		c := t.culprit(i)
		rule.Culprit = &c
	}
	return err
}
