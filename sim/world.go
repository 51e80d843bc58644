package sim

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/treekem"
)

// world is a group with the members that act in it.
type world struct {
	suite   *mls.Suite
	members []*member
	names   int // given out
}

// member is one member with its complete state.
type member struct {
	group *group.Group
}

// groupConfig is how simulated members run their groups. Commits are framed as
// PublicMessage so that what they hold can be counted on the wire.
func groupConfig() group.Config {
	return group.Config{Authenticate: group.InsecureAnyCredential, Handshakes: framing.WireFormatPublicMessage}
}

// speaker picks the member that a random number of the schedule stands for.
func (w *world) speaker(random uint64) *member { return w.members[random%uint64(len(w.members))] }

// committed is a commit on its way.
type committed struct {
	committer *member
	staged    *group.Staged
	message   []byte
	cost      Cost
	removed   *member
	added     *newcomer
	joined    *member
}

// newcomer is somebody with a key package.
type newcomer struct {
	kp      *treekem.KeyPackage
	private *treekem.KeyPackagePrivate
}

// commit makes the commit of a step. The time is that of the committer alone:
// from the decision to the encoded message, Welcome included.
func (w *world) commit(step Step) (*committed, error) {
	c := &committed{committer: w.speaker(step.Committer)}
	opt := group.CommitOptions{References: [][]byte{}}
	switch step.Kind {
	case Add:
		var err error
		if c.added, err = w.newcomer(); err != nil {
			return nil, err
		}
		opt.Proposals = []framing.Proposal{group.AddProposal(c.added.kp)}
	case Remove:
		c.removed = w.speaker(step.Target)
		if c.removed == c.committer { // nobody commits its own removal
			c.removed = w.speaker(step.Target + 1)
		}
		opt.Proposals = []framing.Proposal{group.RemoveProposal(c.removed.group.OwnLeaf())}
	}
	start := time.Now()
	staged, err := c.committer.group.Commit(opt)
	elapsed := time.Since(start)
	if err != nil {
		return nil, err
	}
	c.staged, c.message = staged, staged.Message()
	seals, err := Seals(c.message)
	c.cost = Cost{CommitBytes: len(c.message), Seals: seals, Elapsed: elapsed}
	return c, err
}

// Seals counts the HPKE ciphertexts in the update path of a commit, an encoded
// MLSMessage with a PublicMessage.
func Seals(message []byte) (int, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return 0, err
	}
	if m.Public == nil || m.Public.Content.Commit == nil {
		return 0, errors.New("sim: not a commit in the clear")
	}
	n := 0
	if path := m.Public.Content.Commit.Path; path != nil {
		for i := range path.Nodes {
			n += len(path.Nodes[i].EncryptedPathSecret)
		}
	}
	return n, nil
}

// newcomer makes a client with a key package.
func (w *world) newcomer() (*newcomer, error) {
	signer, err := w.suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	w.names++
	kp, private, err := treekem.NewKeyPackage(w.suite, treekem.KeyPackageOptions{
		Credential: treekem.BasicCredential(fmt.Appendf(nil, "latecomer %d", w.names)),
		Signer:     signer, Lifetime: lifetime(), Capabilities: capabilities(),
	})
	return &newcomer{kp, private}, err
}

// join enters the group by a Welcome, with the whole validation of a joiner.
func (n *newcomer) join(welcome []byte) (*member, error) {
	m, err := framing.Parse(welcome)
	if err != nil {
		return nil, err
	}
	g, err := group.Join(groupConfig(), m.Welcome, n.kp, n.private, group.JoinOptions{})
	return &member{g}, err
}

// follow processes a commit and merges it.
func (m *member) follow(message []byte) error {
	received, err := m.group.Process(message)
	if err != nil {
		return fmt.Errorf("leaf %d: %w", m.group.OwnLeaf(), err)
	}
	staged, ok := received.(*group.Staged)
	if !ok {
		return fmt.Errorf("leaf %d takes a commit for %T", m.group.OwnLeaf(), received)
	}
	return m.group.Merge(staged)
}

// agree checks that all members are in the same epoch with the same secrets.
func (w *world) agree() error {
	want := w.members[0].group
	for _, m := range w.members[1:] {
		if m.group.Epoch() != want.Epoch() || !bytes.Equal(m.group.EpochAuthenticator(), want.EpochAuthenticator()) {
			return fmt.Errorf("leaf %d does not agree with leaf %d", m.group.OwnLeaf(), want.OwnLeaf())
		}
	}
	return nil
}

// roundTrip has a member send a message that all others read.
func (w *world) roundTrip(from *member) ([]byte, error) {
	text := []byte("after the commit")
	message, err := from.group.Protect(text, nil)
	if err != nil {
		return nil, err
	}
	return message, parallel.Each(len(w.members), 1, func(i int) error {
		m := w.members[i]
		if m == from {
			return nil
		}
		received, err := m.group.Process(message)
		if err != nil {
			return fmt.Errorf("leaf %d reading: %w", m.group.OwnLeaf(), err)
		}
		app, ok := received.(*group.Application)
		if !ok || !bytes.Equal(app.Data, text) || app.Sender != from.group.OwnLeaf() {
			return fmt.Errorf("leaf %d read something else than what leaf %d sent", m.group.OwnLeaf(), from.group.OwnLeaf())
		}
		return nil
	})
}
