package group_test

import (
	"fmt"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// invitation is a Welcome, or a GroupInfo, to a group that exists on paper only:
// the forger knows all of its secrets, and so everything is as it should be but
// for what a test changes.
type invitation struct {
	t     *testing.T
	suite *mls.Suite
	// cfg is the configuration of whoever joins.
	cfg group.Config
	opt group.JoinOptions
	// m are the members, the first of whom invites the last.
	m []*client
	// leaf changes the leaf of member i, which signs it again.
	leaf func(i int, l *treekem.LeafNode)
	// path lets the inviter commit a path, so that there are parents.
	path bool
	// nodes changes the array of nodes, after the tree hash was taken if
	// lateNodes is set.
	nodes     func([]node) []node
	lateNodes bool
	noTree    bool
	context   func(*keyschedule.GroupContext)
	psks      []keyschedule.PSK
	// info changes the GroupInfo before it is signed, by signer if that is set,
	// signed afterwards.
	info    func(*framing.GroupInfo)
	signer  mls.Signer
	signed  func(*framing.GroupInfo)
	secrets func(*framing.GroupSecrets)
	welcome func(*framing.Welcome)
	// private changes what the joiner holds.
	private func(*treekem.KeyPackagePrivate)
}

func newInvitation(t *testing.T, n int) *invitation {
	t.Helper()
	v := &invitation{t: t, suite: suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), cfg: config()}
	for i := range n {
		v.m = append(v.m, newClient(t, v.suite, v.cfg, fmt.Sprintf("member %d", i)))
	}
	return v
}

// node is an entry of the ratchet_tree extension (RFC 9420, Section 12.4.3.3).
type node struct {
	leaf   *treekem.LeafNode
	parent *treekem.ParentNode
	// kind replaces the node type.
	kind uint8
}

func (n node) Encode(b *wire.Builder) {
	b.Optional(n.leaf != nil || n.parent != nil)
	kind := n.kind
	switch {
	case n.leaf != nil:
		b.U8(max(kind, 1))
		n.leaf.Encode(b)
	case n.parent != nil:
		b.U8(max(kind, 2))
		n.parent.Encode(b)
	}
}

func (n *node) Decode(r *wire.Reader) {
	if !r.Optional() {
		return
	}
	if r.U8() == 1 {
		n.leaf = new(treekem.LeafNode)
		n.leaf.Decode(r)
		return
	}
	n.parent = new(treekem.ParentNode)
	n.parent.Decode(r)
}

type nodeArray []node

func (a nodeArray) Encode(b *wire.Builder) {
	b.Vector(func(b *wire.Builder) {
		for _, n := range a {
			n.Encode(b)
		}
	})
}

func (a *nodeArray) Decode(r *wire.Reader) {
	r.Vector(func(r *wire.Reader) {
		var n node
		n.Decode(r)
		*a = append(*a, n)
	})
}

// joiner is who is invited.
func (v *invitation) joiner() *client { return v.m[len(v.m)-1] }

// buildTree is the tree of all members' key packages, and the path secret for
// the joiner if the inviter committed a path.
func (v *invitation) buildTree(groupID []byte) (*treekem.Tree, mls.Secret) {
	t := v.t
	t.Helper()
	var tree *treekem.Tree
	var err error
	for i, c := range v.m {
		kp := c.keyPackage()
		if v.leaf != nil {
			v.leaf(i, &kp.LeafNode)
			check(t, kp.LeafNode.Sign(c.suite, c.signer, groupID, mls.LeafIndex(i)))
			check(t, kp.Sign(c.suite, c.signer))
		}
		if i == 0 {
			tree, err = treekem.NewTree(v.suite, &kp.LeafNode)
			check(t, err)
		}
	}
	nodes := nodeArray{}
	for i, c := range v.m {
		if i > 0 {
			nodes = append(nodes, node{})
		}
		nodes = append(nodes, node{leaf: &c.kp.LeafNode})
	}
	if parsed, err := treekem.ParseTree(v.suite, must[[]byte](t)(wire.Marshal(nodes)), 0); err == nil {
		tree = parsed
	}
	if !v.path {
		return tree, mls.Secret{}
	}
	own, _ := tree.Leaf(0)
	path := must[*treekem.Path](t)(tree.NewPath(0, own, v.m[0].signer, groupID))
	secret, _ := path.PathSecretFor(mls.LeafIndex(len(v.m) - 1))
	return path.Tree(), secret
}

// build makes the Welcome and the GroupInfo in it.
func (v *invitation) build() (*framing.Welcome, *framing.GroupInfo) {
	t := v.t
	t.Helper()
	context := keyschedule.GroupContext{Version: mls.MLS10, CipherSuite: v.suite.ID(), GroupID: []byte("paper"), Epoch: 1}
	tree, pathSecret := v.buildTree(context.GroupID)
	context.TreeHash, context.ConfirmedTranscriptHash = tree.Hash(), v.suite.Hash([]byte("some transcript"))
	var nodes nodeArray
	check(t, wire.Unmarshal(must[[]byte](t)(tree.Bytes()), &nodes))
	if v.nodes != nil {
		nodes = v.nodes(nodes)
	}
	encoded := must[[]byte](t)(wire.Marshal(nodes))
	if parsed, err := treekem.ParseTree(v.suite, encoded, 0); err == nil && !v.lateNodes {
		context.TreeHash = parsed.Hash()
	}
	if v.context != nil {
		v.context(&context)
	}
	joiner := must[*keyschedule.JoinerSecret](t)(keyschedule.ParseJoinerSecret(v.suite, mls.RandomSecret(v.suite.HashSize())))
	psk, err := keyschedule.NewPSKSecret(v.suite, v.psks)
	check(t, err)
	epoch := joiner.Epoch(psk, must[[]byte](t)(context.Bytes()))
	info := &framing.GroupInfo{GroupContext: context, ConfirmationTag: epoch.ConfirmationTag(context.ConfirmedTranscriptHash)}
	info.Extensions = []mls.Extension{{Type: mls.ExtensionExternalPub, Data: must[[]byte](t)(framing.EncodeExternalPub(epoch.ExternalPub()))}}
	if !v.noTree {
		info.Extensions = append(info.Extensions, mls.Extension{Type: mls.ExtensionRatchetTree, Data: encoded})
	}
	v.signInfo(info)

	plain := must[[]byte](t)(wire.Marshal(info))
	w := &framing.Welcome{CipherSuite: v.suite.ID()}
	w.EncryptedGroupInfo = must[[]byte](t)(joiner.Welcome(psk).Seal(plain))
	secrets := framing.GroupSecrets{JoinerSecret: joiner.Secret(), PathSecret: pathSecret}
	for _, p := range v.psks {
		secrets.PSKs = append(secrets.PSKs, p.ID)
	}
	if v.secrets != nil {
		v.secrets(&secrets)
	}
	kp := v.joiner().kp
	w.Secrets = []framing.EncryptedGroupSecrets{{
		NewMember:             kp.Ref(v.suite),
		EncryptedGroupSecrets: must[mls.HPKECiphertext](t)(secrets.Seal(framing.GroupSecretsEncrypter(v.suite, w.EncryptedGroupInfo), kp.InitKey)),
	}}
	if v.welcome != nil {
		v.welcome(w)
	}
	return w, info
}

func (v *invitation) signInfo(info *framing.GroupInfo) {
	v.t.Helper()
	if v.info != nil {
		v.info(info)
	}
	signer := v.signer
	if signer == nil {
		signer = v.m[0].signer
	}
	check(v.t, info.Sign(v.suite, signer))
	if v.signed != nil {
		v.signed(info)
	}
}

// join tries the Welcome.
func (v *invitation) join() (*group.Group, error) {
	v.t.Helper()
	w, _ := v.build()
	c := v.joiner()
	if v.private != nil {
		v.private(c.private)
	}
	return group.Join(v.cfg, w, c.kp, c.private, v.opt)
}

// TestInvitationIsAsGoodAsHonest: without a change, one can join.
func TestInvitationIsAsGoodAsHonest(t *testing.T) {
	for _, path := range []bool{false, true} {
		v := newInvitation(t, 5)
		v.path = path
		v.psks = []keyschedule.PSK{v.psk()}
		v.joins()
		_, info := v.build()
		if _, err := group.Observe(v.cfg, info, nil); err != nil {
			t.Fatal(err)
		}
		stranger := newClient(t, v.suite, v.cfg, "stranger")
		if _, _, err := group.JoinExternal(v.cfg, info, group.ExternalJoinOptions{Identity: stranger.identity()}); err != nil {
			t.Fatal(err)
		}
	}
}

func (v *invitation) joins() *group.Group {
	v.t.Helper()
	g, err := v.join()
	if err != nil {
		v.t.Fatal(err)
	}
	return g
}

// psk is a pre-shared key that the joiner has.
func (v *invitation) psk() keyschedule.PSK {
	id := group.PSKProposal(v.suite, []byte("shared")).PreSharedKey.PSK
	return keyschedule.PSK{ID: id, Secret: must[mls.Secret](v.t)(v.cfg.PSK(id))}
}
