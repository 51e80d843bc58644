package group

import (
	"bytes"
	"crypto/rand"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
)

// InfoOptions says what a GroupInfo carries.
type InfoOptions struct {
	// Tree includes the ratchet tree (RFC 9420, Section 12.4.3.3).
	Tree bool
	// ExternalPub includes the key that external joiners need (Section
	// 12.4.3.2).
	ExternalPub bool
	// Extensions are further extensions.
	Extensions []mls.Extension
}

// GroupInfo describes the current epoch, signed (RFC 9420, Section 12.4.3).
func (g *Group) GroupInfo(opt InfoOptions) (*framing.GroupInfo, error) {
	if err := g.usable(); err != nil {
		return nil, err
	}
	return groupInfo(g.view, g.secrets, opt)
}

func groupInfo(v *view, s *secrets, opt InfoOptions) (*framing.GroupInfo, error) {
	exts := slices.Clone(opt.Extensions)
	if opt.Tree {
		tree, err := v.tree.Bytes()
		if err != nil {
			return nil, err
		}
		exts = append(exts, mls.Extension{Type: mls.ExtensionRatchetTree, Data: tree})
	}
	if opt.ExternalPub {
		pub := s.epoch.ExternalPub()
		if pub == nil {
			return nil, mls.ErrKeyConsumed
		}
		data, err := framing.EncodeExternalPub(pub)
		if err != nil {
			return nil, err
		}
		exts = append(exts, mls.Extension{Type: mls.ExtensionExternalPub, Data: data})
	}
	info := &framing.GroupInfo{
		GroupContext:    v.Context(),
		Extensions:      withInfoGREASE(exts),
		ConfirmationTag: bytes.Clone(v.confirmationTag),
		Signer:          s.private.Leaf(),
	}
	if err := mls.CheckExtensions(info.Extensions); err != nil {
		return nil, err
	}
	return info, info.Sign(v.suite, s.signer)
}

// withInfoGREASE appends an extension that nobody knows, so that receivers keep
// ignoring what they don't know (RFC 9420, Sections 12.4.3 and 13.5).
func withInfoGREASE(exts []mls.Extension) []mls.Extension {
	var b [5]byte
	rand.Read(b[:])
	t := mls.ExtensionType(uint16(b[0]%15)*0x1010 + 0x0a0a)
	if _, there := mls.FindExtension(exts, t); there {
		return exts
	}
	return append(exts, mls.Extension{Type: t, Data: b[1:]})
}
