package interop

import (
	"bytes"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// testExtension is a type for private use that the service's members say they
// support, so that groups can have an extension that means nothing.
const testExtension mls.ExtensionType = 0xf0a1

// pskStore holds a client's external pre-shared keys.
type pskStore struct {
	mu   sync.Mutex
	keys map[string]mls.Secret
}

func newPSKStore() *pskStore { return &pskStore{keys: make(map[string]mls.Secret)} }

func (p *pskStore) put(id, secret []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[string(id)] = mls.NewSecret(bytes.Clone(secret))
}

func (p *pskStore) find(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	secret, ok := p.keys[string(id.PSKID)]
	if id.Type != keyschedule.PSKExternal || !ok {
		return mls.Secret{}, mls.ErrUnsupported
	}
	return secret, nil
}

// config is what a client of the service decides: it trusts everybody, as the
// interface gives no way to say whom to trust.
func config(psks *pskStore, encrypt bool) group.Config {
	cfg := group.Config{
		Authenticate: group.InsecureAnyCredential,
		Authorize:    func(group.Admission) error { return nil },
		PSK:          psks.find,
		Handshakes:   framing.WireFormatPublicMessage,
	}
	if encrypt {
		cfg.Handshakes = framing.WireFormatPrivateMessage
	}
	return cfg
}

// identity presents a name with a basic credential. Its leaf nodes and key
// packages have an extension of a GREASE type (RFC 9420, Section 13.5), unless
// the service is to go without.
func (s *service) identity(name []byte, signer mls.Signer) group.Identity {
	caps := treekem.DefaultCapabilities()
	if s.plain.Load() {
		caps.Extensions = slices.DeleteFunc(caps.Extensions, func(t mls.ExtensionType) bool { return mls.IsGREASE(uint16(t)) })
	}
	caps.Extensions = append(caps.Extensions, testExtension)
	return group.Identity{Credential: treekem.BasicCredential(name), Signer: signer, Capabilities: &caps}
}

// newcomer is a client between its key package and a group: what the interface
// calls a transaction.
type newcomer struct {
	mu      sync.Mutex
	kp      *treekem.KeyPackage
	private *treekem.KeyPackagePrivate
	psks    *pskStore
}

// newNewcomer makes a key package for a name.
func (s *service) newNewcomer(suite *mls.Suite, name []byte, psks *pskStore) (*newcomer, error) {
	signer, err := suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	kp, private, err := group.NewKeyPackage(config(psks, false), suite, group.KeyPackageOptions{Identity: s.identity(name, signer)})
	if err != nil {
		return nil, err
	}
	return &newcomer{kp: kp, private: private, psks: psks}, nil
}

// join follows a Welcome.
func (n *newcomer) join(welcome, tree []byte, encrypt bool, predecessor *group.Group) (*member, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, err := framing.Parse(welcome)
	if err != nil {
		return nil, err
	}
	if m.Welcome == nil {
		return nil, malformed("a %v where a Welcome is due", m.WireFormat)
	}
	cfg := config(n.psks, encrypt)
	opt := group.JoinOptions{Predecessor: predecessor}
	if len(tree) > 0 {
		opt.RatchetTree = tree
	}
	g, err := group.Join(cfg, m.Welcome, n.kp, n.private, opt)
	if err != nil {
		return nil, err
	}
	return newMember(g, cfg, n.psks, n.kp.LeafNode.Credential.Identity, n.private.Signer), nil
}

// member is one client's state of one group.
type member struct {
	mu     sync.Mutex
	group  *group.Group
	cfg    group.Config
	psks   *pskStore
	name   []byte
	signer mls.Signer
	// pending is the last own commit, until somebody's commit is merged.
	pending *group.Staged
	// refs are the references of the proposals of this epoch, by their messages.
	refs map[string][]byte
}

func newMember(g *group.Group, cfg group.Config, psks *pskStore, name []byte, signer mls.Signer) *member {
	return &member{group: g, cfg: cfg, psks: psks, name: bytes.Clone(name), signer: signer, refs: make(map[string][]byte)}
}

// encrypts tells whether the member encrypts its handshakes.
func (m *member) encrypts() bool { return m.cfg.Handshakes == framing.WireFormatPrivateMessage }

// merge begins the next epoch.
func (m *member) merge(s *group.Staged) error {
	if err := m.group.Merge(s); err != nil {
		return err
	}
	m.pending = nil
	clear(m.refs)
	return nil
}

// reference is what a commit calls a proposal, which is processed unless it has
// been before.
func (m *member) reference(message []byte) ([]byte, error) {
	if ref, ok := m.refs[string(message)]; ok {
		return ref, nil
	}
	r, err := m.group.Process(message)
	if err != nil {
		return nil, err
	}
	var ref []byte
	switch r := r.(type) {
	case *group.ReceivedProposal:
		ref = r.Ref
	case *group.OwnMessage:
		ref = r.Ref
	}
	if ref == nil {
		return nil, unexpected(r, "a proposal")
	}
	m.refs[string(message)] = ref
	return ref, nil
}

// follow processes the proposals that somebody's commit refers to, and the
// commit.
func (m *member) follow(proposals [][]byte, commit []byte) error {
	for _, p := range proposals {
		if _, err := m.reference(p); err != nil {
			return err
		}
	}
	r, err := m.group.Process(commit)
	if err != nil {
		return err
	}
	switch r := r.(type) {
	case *group.Staged:
		return m.merge(r)
	case *group.Removal:
		if err := m.merge(r.Staged); err != nil {
			return err
		}
		return status.Error(codes.FailedPrecondition, "the commit removes this member")
	}
	return unexpected(r, "somebody's commit")
}

// unexpected says that a message is not what the call is for.
func unexpected(r group.Received, want string) error {
	got := "something else"
	switch r := r.(type) {
	case *group.ReceivedProposal:
		got = "a proposal"
	case *group.Staged, *group.Removal:
		got = "a commit"
	case *group.Application:
		got = "an application message"
	case *group.OwnMessage:
		got = "a message of this member's own"
	case *group.Duplicate:
		got = "a message that was processed before"
	case *group.StaleEpoch:
		return status.Errorf(codes.FailedPrecondition, "a message of epoch %d in epoch %d", r.Got, r.Want)
	case *group.FutureEpoch:
		return status.Errorf(codes.FailedPrecondition, "a message of epoch %d in epoch %d", r.Got, r.Want)
	}
	return status.Errorf(codes.FailedPrecondition, "%s where %s is due", got, want)
}
