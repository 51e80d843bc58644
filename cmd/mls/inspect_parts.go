package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

func (in *inspector) commit(c *framing.Commit) outline {
	list := make([]outline, len(c.Proposals))
	for i := range c.Proposals {
		if p := c.Proposals[i].Proposal; p != nil {
			list[i] = in.proposal(p)
		} else {
			list[i] = outline{{"reference", raw(c.Proposals[i].Ref)}}
		}
	}
	o := outline{{"proposals", list}}
	if c.Path == nil {
		o.add("path", "none")
	} else {
		o.add("path", in.updatePath(c.Path))
	}
	return o
}

func (in *inspector) updatePath(p *treekem.UpdatePath) outline {
	nodes := make([]outline, len(p.Nodes))
	seals := 0
	for i := range p.Nodes {
		n := len(p.Nodes[i].EncryptedPathSecret)
		seals += n
		nodes[i] = outline{{"encryption_key", raw(p.Nodes[i].EncryptionKey)}, {"sealed_to", n}}
	}
	return outline{{"leaf_node", in.leafNode(&p.LeafNode)}, {"nodes", nodes}, {"seals", seals}}
}

func (in *inspector) proposal(p *framing.Proposal) outline {
	o := outline{{"type", p.Type.String()}}
	switch {
	case p.Add != nil:
		o.add("key_package", in.keyPackage(&p.Add.KeyPackage))
	case p.Update != nil:
		o.add("leaf_node", in.leafNode(&p.Update.LeafNode))
	case p.Remove != nil:
		o = append(o, in.remove(p.Remove)...)
	case p.PreSharedKey != nil:
		o = append(o, in.psk(&p.PreSharedKey.PSK)...)
	case p.ReInit != nil:
		o = append(o, in.reInit(p.ReInit)...)
	case p.ExternalInit != nil:
		o = append(o, in.externalInit(p.ExternalInit)...)
	case p.GroupContextExtensions != nil:
		o = append(o, in.groupContextExtensions(p.GroupContextExtensions)...)
	}
	return o
}

func (in *inspector) remove(r *framing.Remove) outline {
	return outline{{"removed", uint32(r.Removed)}}
}

func (in *inspector) externalInit(e *framing.ExternalInit) outline {
	return outline{{"kem_output", raw(e.KEMOutput)}}
}

func (in *inspector) groupContextExtensions(g *framing.GroupContextExtensions) outline {
	return outline{{"extensions", in.extensions(g.Extensions)}}
}

func (in *inspector) reInit(r *framing.ReInit) outline {
	return outline{
		{"group_id", label(r.GroupID)}, {"version", r.Version.String()}, {"cipher_suite", r.CipherSuite.String()},
		{"extensions", in.extensions(r.Extensions)},
	}
}

func (in *inspector) psk(id *keyschedule.PreSharedKeyID) outline {
	o := outline{{"psk_type", id.Type.String()}}
	if id.Type == keyschedule.PSKExternal {
		o.add("psk_id", label(id.PSKID))
	} else {
		o.add("usage", id.Usage.String())
		o.add("psk_group_id", label(id.PSKGroupID))
		o.add("psk_epoch", id.PSKEpoch)
	}
	o.add("psk_nonce", raw(id.PSKNonce))
	return o
}

// pskText names a pre-shared key in a line.
func pskText(id *keyschedule.PreSharedKeyID) string {
	if id.Type == keyschedule.PSKExternal {
		return fmt.Sprintf("the pre-shared key %q", label(id.PSKID))
	}
	return fmt.Sprintf("the resumption secret of epoch %d of group %s (%s)", id.PSKEpoch, label(id.PSKGroupID), id.Usage)
}

func (in *inspector) leafNode(l *treekem.LeafNode) outline {
	o := outline{
		{"credential", in.credential(&l.Credential)},
		{"encryption_key", raw(l.EncryptionKey)},
		{"signature_key", raw(l.SignatureKey)},
		{"source", l.Source.String()},
	}
	switch l.Source {
	case treekem.SourceKeyPackage:
		o.add("not_before", timeText(l.Lifetime.NotBefore))
		o.add("not_after", timeText(l.Lifetime.NotAfter))
	case treekem.SourceCommit:
		o.add("parent_hash", raw(l.ParentHash))
	}
	c := &l.Capabilities
	o.add("capabilities", outline{
		{"versions", texts(c.Versions)}, {"cipher_suites", texts(c.CipherSuites)}, {"extensions", texts(c.Extensions)},
		{"proposals", texts(c.Proposals)}, {"credentials", texts(c.Credentials)},
	})
	o.add("extensions", in.extensions(l.Extensions))
	o.add("signature", raw(l.Signature))
	return o
}

// texts returns the names of code points.
func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].String()
	}
	return out
}

// timeText shows seconds since 1970; what no calendar holds stays a number.
func timeText(seconds uint64) string {
	if seconds > 253402300799 { // the end of the year 9999
		return fmt.Sprintf("%d s", seconds)
	}
	return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
}

func (in *inspector) credential(c *treekem.Credential) outline {
	o := outline{{"type", c.Type.String()}}
	if c.Type == mls.CredentialBasic {
		o.add("identity", label(c.Identity))
		return o
	}
	chain := make([]outline, len(c.Certificates))
	for i, der := range c.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			chain[i] = outline{{"unreadable", raw(der)}}
			continue
		}
		chain[i] = outline{
			{"subject", cert.Subject.String()}, {"issuer", cert.Issuer.String()},
			{"not_after", cert.NotAfter.UTC().Format(time.RFC3339)},
		}
	}
	o.add("certificates", chain)
	return o
}

func (in *inspector) extensions(list []mls.Extension) []outline {
	out := make([]outline, len(list))
	for i, e := range list {
		out[i] = outline{{"type", e.Type.String()}}
		body, err := in.extension(e)
		if err != nil { // its contents are no business of whoever does not know it
			body = outline{{"data", raw(e.Data)}}
		}
		out[i] = append(out[i], body...)
	}
	return out
}

// extension describes the extensions whose contents RFC 9420 defines.
func (in *inspector) extension(e mls.Extension) (outline, error) {
	switch e.Type {
	case mls.ExtensionApplicationID:
		var id applicationID
		err := wire.Unmarshal(e.Data, &id)
		return outline{{"application_id", label(id)}}, err
	case mls.ExtensionRatchetTree:
		return in.ratchetTree(e.Data)
	case mls.ExtensionRequiredCapabilities:
		var r treekem.RequiredCapabilities
		err := wire.Unmarshal(e.Data, &r)
		return outline{
			{"extensions", texts(r.Extensions)}, {"proposals", texts(r.Proposals)}, {"credentials", texts(r.Credentials)},
		}, err
	case mls.ExtensionExternalPub:
		key, err := framing.DecodeExternalPub(e.Data)
		return outline{{"external_pub", raw(key)}}, err
	case mls.ExtensionExternalSenders:
		senders, err := framing.DecodeExternalSenders(e.Data)
		list := make([]outline, len(senders))
		for i := range senders {
			list[i] = outline{{"credential", in.credential(&senders[i].Credential)}, {"signature_key", raw(senders[i].SignatureKey)}}
		}
		return outline{{"external_senders", list}}, err
	}
	return outline{{"data", raw(e.Data)}}, nil
}

// applicationID is the contents of an application_id extension (RFC 9420, Section 5.3.3).
type applicationID []byte

// Decode reads the wire form.
func (a *applicationID) Decode(r *wire.Reader) { *a = r.OpaqueCopy() }

// treeNode is an entry of a ratchet tree (RFC 9420, Section 12.4.3.3): a leaf, a parent, or neither.
type treeNode struct {
	leaf   *treekem.LeafNode
	parent *treekem.ParentNode
}

// treeNodes is the contents of a ratchet_tree extension.
type treeNodes []treeNode

// Decode reads the wire form.
func (t *treeNodes) Decode(r *wire.Reader) {
	r.Vector(func(r *wire.Reader) {
		var n treeNode
		if r.Optional() {
			switch kind := r.U8(); kind {
			case 1:
				n.leaf = new(treekem.LeafNode)
				n.leaf.Decode(r)
			case 2:
				n.parent = new(treekem.ParentNode)
				n.parent.Decode(r)
			default:
				r.Fail("node type %d", kind)
			}
		}
		*t = append(*t, n)
	})
}

// ratchetTree describes a tree: drawn if it is one, else as the list of its nodes, with the reason.
func (in *inspector) ratchetTree(data []byte) (outline, error) {
	var nodes treeNodes
	if err := wire.Unmarshal(data, &nodes); err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, errors.New("a ratchet tree without nodes")
	}
	o := outline{{"nodes", len(nodes)}}
	suite := in.suite
	if suite == nil {
		suite = guessSuite(nodes)
	}
	if suite == nil {
		o.add("not_drawn", "its cipher suite can't be told: --suite names it")
	} else if tree, err := treekem.ParseTree(suite, data, uint32(len(nodes))+1); err != nil {
		o.add("not_drawn", err.Error())
	} else {
		o.add("members", tree.Members())
		o.add("tree_hash", raw(tree.Hash()))
		var b strings.Builder
		if err := tree.Draw(&b); err != nil {
			return nil, err
		}
		o.add("tree", drawing(b.String()))
	}
	o.add("leaves", in.leaves(nodes))
	return o, nil
}

// leaves lists the leaves that are not blank, in a line each.
func (in *inspector) leaves(nodes treeNodes) []outline {
	var out []outline
	for i, n := range nodes {
		if n.leaf != nil {
			out = append(out, outline{
				{"leaf", i / 2}, {"name", n.leaf.Credential.String()}, {"source", n.leaf.Source.String()},
				{"encryption_key", raw(n.leaf.EncryptionKey)}, {"signature_key", raw(n.leaf.SignatureKey)},
			})
		}
	}
	return out
}

// guessSuite tells the cipher suite of a tree from its keys: the first suite that every leaf supports and
// whose keys its keys can be. Suites that this leaves open share the hash.
func guessSuite(nodes treeNodes) *mls.Suite {
	for _, s := range mls.Suites() {
		fits, found := true, false
		for _, n := range nodes {
			if n.leaf == nil {
				continue
			}
			found = true
			fits = fits && s.ValidatePublicKey(n.leaf.EncryptionKey) == nil && s.ValidateSignatureKey(n.leaf.SignatureKey) == nil
		}
		if fits && found {
			return s
		}
	}
	return nil
}
