package treekem

import (
	"github.com/treekem/mls"
)

// A keyEdit makes the key indices of a new tree from those of an old one.
type keyEdit struct {
	enc, sig *indexEdit
}

func (t *Tree) editKeys() *keyEdit {
	return &keyEdit{enc: t.enc.edit(), sig: t.sig.edit()}
}

// install ends the edit, giving t the indices.
func (k *keyEdit) install(t *Tree) {
	t.enc, t.sig = k.enc.done(), k.sig.done()
}

// removeLeaf takes out the keys of an encoded leaf node.
func (k *keyEdit) removeLeaf(x NodeIndex, raw string) {
	k.enc.remove(fingerprint(encryptionKeyIn(raw)), x)
	k.sig.remove(fingerprint(signatureKeyIn(raw)), x)
}

// removeParent takes out the key of an encoded parent node.
func (k *keyEdit) removeParent(x NodeIndex, raw string) {
	k.enc.remove(fingerprint(encryptionKeyIn(raw)), x)
}

// addLeaf enters the keys of leaf i of t, whose encoding is raw. No other node
// may have them.
func (k *keyEdit) addLeaf(t *Tree, i mls.LeafIndex, raw string) error {
	enc, sig := encryptionKeyIn(raw), signatureKeyIn(raw)
	if x, ok := t.findEncryptionKey(k.enc.view(), enc); ok {
		return duplicateEncryptionKey(t, LeafNodeIndex(i), x)
	}
	if x, ok := t.findSignatureKey(k.sig.view(), sig); ok {
		return duplicateSignatureKey(t, i, x.Leaf())
	}
	k.enc.insert(fingerprint(enc), LeafNodeIndex(i))
	k.sig.insert(fingerprint(sig), LeafNodeIndex(i))
	return nil
}

// addParent enters the key of parent node x of t, whose encoding is raw. No
// other node may have it.
func (k *keyEdit) addParent(t *Tree, x NodeIndex, raw string) error {
	key := encryptionKeyIn(raw)
	if y, ok := t.findEncryptionKey(k.enc.view(), key); ok {
		return duplicateEncryptionKey(t, x, y)
	}
	k.enc.insert(fingerprint(key), x)
	return nil
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
