package group

import (
	"bytes"
	"iter"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// view is the public state of one epoch: all that somebody who holds no secret
// of the group knows of it. It is immutable.
type view struct {
	suite        *mls.Suite
	context      keyschedule.GroupContext
	contextBytes []byte
	tree         *treekem.Tree
	// interim is the interim transcript hash (RFC 9420, Section 8.2).
	interim         []byte
	confirmationTag []byte
	externalSenders []framing.ExternalSender
	required        treekem.RequiredCapabilities
	// reinit is set when the commit that began this epoch held a ReInit.
	reinit *framing.ReInit
}

// newView computes what follows from a group context and its tree.
func newView(suite *mls.Suite, context keyschedule.GroupContext, tree *treekem.Tree) (*view, error) {
	encoded, err := wire.Marshal(&context)
	if err != nil {
		return nil, err
	}
	// The context is decoded from what it was encoded to: a view shares nothing
	// with who made it, and holds nothing that others could not read.
	v := &view{suite: suite, contextBytes: encoded, tree: tree}
	if err := wire.UnmarshalOwned(encoded, &v.context); err != nil {
		return nil, err
	}
	context = v.context
	if v.externalSenders, err = externalSenders(context.Extensions); err != nil {
		return nil, err
	}
	if v.required, err = requiredCapabilities(context.Extensions); err != nil {
		return nil, err
	}
	return v, nil
}

// confirm sets the confirmation tag and the interim transcript hash that
// follows from it.
func (v *view) confirm(tag []byte) {
	// The tag may be part of a message in memory, which it must not keep there.
	v.confirmationTag = bytes.Clone(tag)
	v.interim = keyschedule.InterimTranscriptHash(v.suite, v.context.ConfirmedTranscriptHash, tag)
}

func externalSenders(exts []mls.Extension) ([]framing.ExternalSender, error) {
	data, ok := mls.FindExtension(exts, mls.ExtensionExternalSenders)
	if !ok {
		return nil, nil
	}
	return framing.DecodeExternalSenders(data)
}

func requiredCapabilities(exts []mls.Extension) (treekem.RequiredCapabilities, error) {
	var req treekem.RequiredCapabilities
	data, ok := mls.FindExtension(exts, mls.ExtensionRequiredCapabilities)
	if !ok {
		return req, nil
	}
	return req, wire.Unmarshal(data, &req)
}

// checkGroup refuses content for another group, or for another epoch.
func (v *view) checkGroup(groupID []byte, epoch uint64) error {
	if !bytes.Equal(groupID, v.context.GroupID) {
		return mls.ErrWrongGroup
	}
	if epoch != v.context.Epoch {
		return &mls.EpochError{Got: epoch, Want: v.context.Epoch}
	}
	return nil
}

// senderKey finds the key that content's signature must verify under (RFC
// 9420, Section 6.1). For joiners it is the key that they bring along: framing
// admits only what such senders may send.
func (v *view) senderKey(c *framing.FramedContent) (mls.SignaturePublicKey, error) {
	switch c.Sender.Type {
	case framing.SenderMember:
		key, ok := v.tree.SignatureKey(c.Sender.Leaf)
		if !ok {
			return nil, mls.InvalidAt(mls.Culprit{Sender: &c.Sender.Leaf}, "6.1", "sender-leaf",
				"sender leaf %d holds no member", c.Sender.Leaf)
		}
		return key, nil
	case framing.SenderExternal:
		return v.externalSenderKey(c)
	case framing.SenderNewMemberProposal:
		return c.Proposal.Add.KeyPackage.LeafNode.SignatureKey, nil
	case framing.SenderNewMemberCommit:
		if c.Commit.Path == nil {
			return nil, mls.Invalid("12.4.3.2", "path-required", "external commit without a path")
		}
		return c.Commit.Path.LeafNode.SignatureKey, nil
	default:
		return nil, mls.ErrMalformed
	}
}

func (v *view) externalSenderKey(c *framing.FramedContent) (mls.SignaturePublicKey, error) {
	if len(v.externalSenders) == 0 {
		return nil, mls.Invalid("12.1.8", "external-senders-absent", "the group lists no external senders")
	}
	if int64(c.Sender.SenderIndex) >= int64(len(v.externalSenders)) {
		return nil, mls.Invalid("6.1", "external-sender-index", "external sender %d of %d", c.Sender.SenderIndex, len(v.externalSenders))
	}
	return v.externalSenders[c.Sender.SenderIndex].SignatureKey, nil
}

// authenticate verifies the signature of content from any sender.
func (v *view) authenticate(ac *framing.AuthenticatedContent) error {
	key, err := v.senderKey(&ac.Content)
	if err != nil {
		return err
	}
	return ac.Verify(v.suite, key, v.contextBytes)
}

// member is the credential's holder at a leaf, for error messages.
func (v *view) culprit(leaf mls.LeafIndex) mls.Culprit {
	c := mls.Culprit{Leaf: &leaf}
	if node, ok := v.tree.Leaf(leaf); ok {
		c.Identity = node.Credential.String()
	}
	return c
}

// sure returns err, but for what could not be read of a tree from a store: that
// is then why.
func (v *view) sure(err error) error {
	if failed := v.tree.Err(); failed != nil {
		return failed
	}
	return err
}

// Err tells whether everything that was needed of the group's trees could be read,
// those of past epochs included: nil for trees in memory. After an error what
// the group says of its members may be wrong, and nothing else is handed out.
func (g *Group) Err() error {
	if err := g.tree.Err(); err != nil {
		return err
	}
	for _, p := range g.past {
		if err := p.roster.tree.Err(); err != nil {
			return err
		}
	}
	return nil
}

// ID is the group's identifier.
func (v *view) ID() []byte { return bytes.Clone(v.context.GroupID) }

// Epoch is the number of the current epoch.
func (v *view) Epoch() uint64 { return v.context.Epoch }

// Suite is the group's cipher suite.
func (v *view) Suite() *mls.Suite { return v.suite }

// Tree is the ratchet tree of the current epoch. It is immutable.
func (v *view) Tree() *treekem.Tree { return v.tree }

// Context is the group context of the current epoch (RFC 9420, Section 8.1).
func (v *view) Context() keyschedule.GroupContext {
	c := v.context
	c.GroupID = bytes.Clone(c.GroupID)
	c.TreeHash = bytes.Clone(c.TreeHash)
	c.ConfirmedTranscriptHash = bytes.Clone(c.ConfirmedTranscriptHash)
	c.Extensions = cloneExtensions(c.Extensions)
	return c
}

// shutDown is a copy of the ReInit that shut the group down, if one did.
func (v *view) shutDown() (*framing.ReInit, bool) {
	if v.reinit == nil {
		return nil, false
	}
	return cloneReInit(v.reinit), true
}

func cloneReInit(r *framing.ReInit) *framing.ReInit {
	c := *r
	c.GroupID, c.Extensions = bytes.Clone(r.GroupID), cloneExtensions(r.Extensions)
	return &c
}

func cloneExtensions(list []mls.Extension) []mls.Extension {
	out := slices.Clone(list)
	for i := range out {
		out[i].Data = bytes.Clone(out[i].Data)
	}
	return out
}

// Member is the leaf node of the member at leaf; false if the leaf is blank.
func (v *view) Member(leaf mls.LeafIndex) (*treekem.LeafNode, bool) { return v.tree.Leaf(leaf) }

// Members yields the members by ascending leaf index.
func (v *view) Members() iter.Seq2[mls.LeafIndex, *treekem.LeafNode] { return v.tree.Leaves() }
