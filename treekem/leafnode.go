package treekem

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// LeafNodeSource says how a leaf node came into the tree (RFC 9420, Section
// 7.2).
type LeafNodeSource uint8

// The sources of leaf nodes.
const (
	SourceKeyPackage LeafNodeSource = 1
	SourceUpdate     LeafNodeSource = 2
	SourceCommit     LeafNodeSource = 3
)

// String returns the name that RFC 9420 gives the source.
func (s LeafNodeSource) String() string {
	switch s {
	case SourceKeyPackage:
		return "key_package"
	case SourceUpdate:
		return "update"
	case SourceCommit:
		return "commit"
	default:
		return "unknown"
	}
}

// A LeafNode describes one client (RFC 9420, Section 7.2).
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    SignaturePublicKey signature_key;
//	    Credential credential;
//	    Capabilities capabilities;
//	    LeafNodeSource leaf_node_source;
//	    select (LeafNode.leaf_node_source) {
//	        case key_package: Lifetime lifetime;
//	        case update:      struct{};
//	        case commit:      opaque parent_hash<V>;
//	    };
//	    Extension extensions<V>;
//	    /* SignWithLabel(., "LeafNodeTBS", LeafNodeTBS) */
//	    opaque signature<V>;
//	} LeafNode;
type LeafNode struct {
	EncryptionKey mls.HPKEPublicKey
	SignatureKey  mls.SignaturePublicKey
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // if Source is SourceKeyPackage
	ParentHash    []byte   // if Source is SourceCommit
	Extensions    []mls.Extension
	Signature     []byte
}

// Encode appends the leaf node.
func (l *LeafNode) Encode(b *wire.Builder) {
	l.encodeContents(b)
	b.Opaque(l.Signature)
}

func (l *LeafNode) encodeContents(b *wire.Builder) {
	b.Opaque(l.EncryptionKey)
	b.Opaque(l.SignatureKey)
	l.Credential.Encode(b)
	l.Capabilities.Encode(b)
	b.U8(uint8(l.Source))
	switch l.Source {
	case SourceKeyPackage:
		l.Lifetime.Encode(b)
	case SourceUpdate:
	case SourceCommit:
		b.Opaque(l.ParentHash)
	default:
		b.Fail(fmt.Errorf("treekem: leaf node source %d", l.Source))
	}
	mls.EncodeExtensions(b, l.Extensions)
}

// Decode reads a leaf node.
func (l *LeafNode) Decode(r *wire.Reader) {
	l.EncryptionKey = r.OpaqueCopy()
	l.SignatureKey = r.OpaqueCopy()
	l.Credential.Decode(r)
	l.Capabilities.Decode(r)
	l.Source = LeafNodeSource(r.U8())
	l.Lifetime, l.ParentHash = Lifetime{}, nil
	switch l.Source {
	case SourceKeyPackage:
		l.Lifetime.Decode(r)
	case SourceUpdate:
	case SourceCommit:
		l.ParentHash = r.OpaqueCopy()
	default:
		r.Fail("leaf node source %d", l.Source)
	}
	l.Extensions = mls.DecodeExtensions(r)
	l.Signature = r.OpaqueCopy()
}

// Bytes returns the encoding of the leaf node.
func (l *LeafNode) Bytes() ([]byte, error) { return wire.Marshal(l) }

// Clone returns a copy that shares nothing with l.
func (l *LeafNode) Clone() *LeafNode {
	c := *l
	c.EncryptionKey = bytes.Clone(l.EncryptionKey)
	c.SignatureKey = bytes.Clone(l.SignatureKey)
	c.Credential = l.Credential.Clone()
	c.Capabilities = l.Capabilities.Clone()
	c.ParentHash = bytes.Clone(l.ParentHash)
	c.Extensions = slices.Clone(l.Extensions)
	for i := range c.Extensions {
		c.Extensions[i].Data = bytes.Clone(c.Extensions[i].Data)
	}
	c.Signature = bytes.Clone(l.Signature)
	return &c
}

const labelLeafNode = "LeafNodeTBS"

// appendLeafContext turns the contents of a leaf node into its LeafNodeTBS: a
// leaf node that was made in a group is signed for its place there (RFC 9420,
// Section 7.2).
//
//	select (LeafNodeTBS.leaf_node_source) {
//	    case key_package: struct{};
//	    case update, commit:
//	        opaque group_id<V>;
//	        uint32 leaf_index;
//	};
func appendLeafContext(b *wire.Builder, source LeafNodeSource, groupID []byte, leaf mls.LeafIndex) {
	if source != SourceKeyPackage {
		b.Opaque(groupID)
		b.U32(uint32(leaf))
	}
}

// Sign signs the leaf node for leaf i of a group. Both are ignored if its
// source is a key package, which is made for no group in particular.
func (l *LeafNode) Sign(s *mls.Suite, signer mls.Signer, groupID []byte, i mls.LeafIndex) error {
	var b wire.Builder
	l.encodeContents(&b)
	appendLeafContext(&b, l.Source, groupID, i)
	tbs, err := b.Bytes()
	if err != nil {
		return err
	}
	l.Signature, err = s.SignWithLabel(signer, labelLeafNode, tbs)
	return err
}

// VerifySignature verifies the signature of the leaf node as leaf i of a group
// (RFC 9420, Section 7.3). Both are ignored if its source is a key package.
func (l *LeafNode) VerifySignature(s *mls.Suite, groupID []byte, i mls.LeafIndex) error {
	return wire.WithScratch(0, func(b *wire.Builder) error {
		l.encodeContents(b)
		appendLeafContext(b, l.Source, groupID, i)
		return nil
	}, func(tbs []byte) error { return verifyLeaf(s, l.SignatureKey, tbs, l.Signature) })
}

// verifyLeaf verifies the signature over a LeafNodeTBS.
func verifyLeaf(s *mls.Suite, key, tbs, signature []byte) error {
	if err := s.VerifyWithLabel(key, labelLeafNode, tbs, signature); err != nil {
		// RFC 9420, Section 7.3: verify the signature using signature_key.
		return mls.Invalid("7.3", "leaf-signature", "signature of a leaf node: %w", err)
	}
	return nil
}

// Check checks the rules for a leaf node that need neither its group nor its
// signature (RFC 9420, Sections 7.2 and 7.3): its keys are the suite's, its
// capabilities cover what the leaf node itself uses, an X.509 end entity is for
// the signature key, and now is within a key package's lifetime unless
// allowExpired is set.
//
// That the capabilities list the group's version and suite is asked of key
// packages only ([KeyPackage.Verify]): the leaf nodes of members who evidently
// use both are not refused for leaving them out, and some of the working
// group's known answers do.
func (l *LeafNode) Check(s *mls.Suite, now time.Time, allowExpired bool) error {
	if err := s.ValidatePublicKey(l.EncryptionKey); err != nil {
		return err
	}
	if err := s.ValidateSignatureKey(l.SignatureKey); err != nil {
		return err
	}
	if bytes.Equal(l.EncryptionKey, l.SignatureKey) {
		// RFC 9420, Section 16.7: encryption and signature keys are distinct.
		return mls.Invalid("16.7", "one-key-for-both", "leaf node whose encryption key is its signature key")
	}
	if err := l.Credential.CheckKey(s, l.SignatureKey); err != nil {
		return err
	}
	if err := l.checkCapabilities(); err != nil {
		return err
	}
	if l.Source == SourceKeyPackage && !allowExpired && !l.Lifetime.Contains(now) {
		// RFC 9420, Section 7.3: the current time is within the lifetime.
		return mls.Invalid("7.3", "lifetime", "leaf node outside its lifetime")
	}
	return nil
}

func (l *LeafNode) checkCapabilities() error {
	c := &l.Capabilities
	if slices.ContainsFunc(c.Extensions, defaultExtension) || slices.ContainsFunc(c.Proposals, defaultProposal) {
		// RFC 9420, Section 7.2: default types MUST NOT be listed.
		return mls.Invalid("7.2", "default-capability", "capabilities that list a default type")
	}
	if !slices.Contains(c.Credentials, l.Credential.Type) {
		// RFC 9420, Section 7.2: the credential's own type MUST be listed.
		return mls.Invalid("7.2", "credential-type", "capabilities without the leaf's own credential type %v", l.Credential.Type)
	}
	if err := mls.CheckExtensions(l.Extensions); err != nil {
		return err
	}
	if t, ok := c.missingExtension(l.Extensions); ok {
		// RFC 9420, Section 7.3: the leaf's extensions are in its capabilities.
		return mls.Invalid("7.3", "extension-capability", "leaf extension %v that is not in its capabilities", t)
	}
	return nil
}

// missingExtension finds an extension whose type the capabilities lack.
func (c *Capabilities) missingExtension(exts []mls.Extension) (mls.ExtensionType, bool) {
	// Both lists can be long: looking one up in the other must not take
	// quadratic time.
	listed := make(map[mls.ExtensionType]bool, len(c.Extensions))
	if len(exts) > 0 {
		for _, t := range c.Extensions {
			listed[t] = true
		}
	}
	for _, e := range exts {
		if !defaultExtension(e.Type) && !listed[e.Type] {
			return e.Type, true
		}
	}
	return 0, false
}

// A ParentNode is the contents of a parent node (RFC 9420, Section 7.1).
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    opaque parent_hash<V>;
//	    uint32 unmerged_leaves<V>;
//	} ParentNode;
type ParentNode struct {
	EncryptionKey  mls.HPKEPublicKey
	ParentHash     []byte
	UnmergedLeaves []mls.LeafIndex // ascending
}

// Encode appends the parent node.
func (p *ParentNode) Encode(b *wire.Builder) {
	b.Opaque(p.EncryptionKey)
	b.Opaque(p.ParentHash)
	b.Vector(func(b *wire.Builder) {
		for _, i := range p.UnmergedLeaves {
			b.U32(uint32(i))
		}
	})
}

// Decode reads a parent node. Unmerged leaves out of order break a rule: they
// MUST be ascending.
func (p *ParentNode) Decode(r *wire.Reader) {
	p.EncryptionKey = r.OpaqueCopy()
	p.ParentHash = r.OpaqueCopy()
	list := r.Opaque()
	if len(list)%4 != 0 {
		r.Fail("unmerged leaves of %d bytes", len(list))
	}
	if r.Err() != nil {
		return
	}
	unmerged := leafList(list)
	if !unmerged.ascending() {
		// RFC 9420, Section 7.1: the entries MUST be in increasing order.
		r.FailWith(mls.Invalid("7.1", "unmerged-leaves-order", "unmerged leaves out of order"))
		return
	}
	p.UnmergedLeaves = unmerged.slice()
}
