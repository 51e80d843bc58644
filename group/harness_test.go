package group_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// client is somebody who can be in a group.
type client struct {
	t      tb
	name   string
	suite  *mls.Suite
	cfg    group.Config
	signer *mls.SignaturePrivateKey
	g      *group.Group

	kp      *treekem.KeyPackage
	private *treekem.KeyPackagePrivate
}

func config() group.Config {
	return group.Config{
		Authenticate: group.InsecureAnyCredential,
		Authorize:    func(group.Admission) error { return nil },
		PSK: func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
			if id.Type != keyschedule.PSKExternal {
				return mls.Secret{}, errors.New("no such psk")
			}
			return mls.NewSecret(append([]byte("secret of "), id.PSKID...)), nil
		},
	}
}

func must[T any](t tb) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func suite(t tb, id mls.CipherSuite) *mls.Suite {
	t.Helper()
	return must[*mls.Suite](t)(mls.LookupSuite(id))
}

func newClient(t tb, s *mls.Suite, cfg group.Config, name string) *client {
	t.Helper()
	return &client{t: t, name: name, suite: s, cfg: cfg, signer: must[*mls.SignaturePrivateKey](t)(s.GenerateSigner())}
}

func (c *client) identity() group.Identity {
	return group.Identity{Credential: treekem.BasicCredential([]byte(c.name)), Signer: c.signer}
}

func (c *client) create(exts ...mls.Extension) {
	c.t.Helper()
	c.g = must[*group.Group](c.t)(group.New(c.cfg, c.suite, group.CreateOptions{Identity: c.identity(), Extensions: exts}))
}

// keyPackage makes a fresh key package, which join then uses.
func (c *client) keyPackage() *treekem.KeyPackage {
	c.t.Helper()
	var err error
	c.kp, c.private, err = group.NewKeyPackage(c.cfg, c.suite, group.KeyPackageOptions{Identity: c.identity()})
	check(c.t, err)
	return c.kp
}

func parseWelcome(t tb, message []byte) *framing.Welcome {
	t.Helper()
	m := must[*framing.Message](t)(framing.Parse(message))
	if m.Welcome == nil {
		t.Fatal("not a Welcome")
	}
	return m.Welcome
}

func (c *client) join(welcome []byte, opt group.JoinOptions) error {
	g, err := group.Join(c.cfg, parseWelcome(c.t, welcome), c.kp, c.private, opt)
	if err == nil {
		c.g = g
	}
	return err
}

func (c *client) commit(opt group.CommitOptions) *group.Staged {
	c.t.Helper()
	return must[*group.Staged](c.t)(c.g.Commit(opt))
}

// deliver lets members process a message; commits are merged.
func deliver(t tb, message []byte, members ...*client) {
	t.Helper()
	for _, m := range members {
		r, err := m.g.Process(message)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		switch r := r.(type) {
		case *group.Staged:
			check(t, m.g.Merge(r))
		case *group.Removal:
			check(t, m.g.Merge(r.Staged))
		}
	}
}

// commitTo commits, merges, lets the others follow and the joiners join.
func (c *client) commitTo(opt group.CommitOptions, others []*client, joiners ...*client) {
	c.t.Helper()
	s := c.commit(opt)
	deliver(c.t, s.Message(), others...)
	check(c.t, c.g.Merge(s))
	for _, j := range joiners {
		check(c.t, j.join(s.Welcome(), group.JoinOptions{}))
	}
}

// agree asserts that all are in the same epoch with the same secrets.
func agree(t tb, members ...*client) {
	t.Helper()
	first := members[0]
	for _, m := range members[1:] {
		if m.g.Epoch() != first.g.Epoch() || !bytes.Equal(m.g.EpochAuthenticator(), first.g.EpochAuthenticator()) {
			t.Fatalf("%s (epoch %d) and %s (epoch %d) disagree", first.name, first.g.Epoch(), m.name, m.g.Epoch())
		}
		if !bytes.Equal(m.g.Tree().Hash(), first.g.Tree().Hash()) {
			t.Fatalf("%s and %s hold different trees", first.name, m.name)
		}
	}
}

// talk lets everybody send a message that all others read.
func talk(t tb, members ...*client) {
	t.Helper()
	for i, from := range members {
		text := fmt.Appendf(nil, "hello from %s", from.name)
		message := must[[]byte](t)(from.g.Protect(text, []byte("aad")))
		for j, to := range members {
			r, err := to.g.Process(message)
			check(t, err)
			if i == j {
				if _, ok := r.(*group.OwnMessage); !ok {
					t.Fatalf("own message came back as %T", r)
				}
				continue
			}
			a, ok := r.(*group.Application)
			if !ok || !bytes.Equal(a.Data, text) || string(a.AuthenticatedData) != "aad" || a.Sender != from.g.OwnLeaf() {
				t.Fatalf("%s reads %T", to.name, r)
			}
		}
	}
}

// newGroup is a group of n members, the first of which added the others.
func newGroup(t tb, s *mls.Suite, cfg group.Config, n int) []*client {
	t.Helper()
	members := make([]*client, n)
	for i := range members {
		members[i] = newClient(t, s, cfg, fmt.Sprintf("member %d", i))
	}
	members[0].create()
	if n > 1 {
		var opt group.CommitOptions
		for _, m := range members[1:] {
			opt.Proposals = append(opt.Proposals, group.AddProposal(m.keyPackage()))
		}
		members[0].commitTo(opt, nil, members[1:]...)
	}
	agree(t, members...)
	return members
}

func assertRule(t tb, err error, rule string) {
	t.Helper()
	var r *mls.RuleError
	if !errors.As(err, &r) || r.Section+"/"+r.Rule != rule {
		t.Fatalf("got %v, want rule %s", err, rule)
	}
	class := mls.ErrInvalid
	if r.Rule == "psk-unavailable" {
		class = mls.ErrUnavailable
	}
	if !errors.Is(err, class) || errors.Is(err, mls.ErrInvalid) && class != mls.ErrInvalid {
		t.Fatalf("%v is not of the class %v", err, class)
	}
}

// externalSenders is the extension that lists external senders.
func externalSenders(t tb, senders ...framing.ExternalSender) mls.Extension {
	t.Helper()
	return mls.Extension{Type: mls.ExtensionExternalSenders, Data: must[[]byte](t)(framing.EncodeExternalSenders(senders))}
}

// externalSender is a client as an external sender.
func (c *client) externalSender() framing.ExternalSender {
	return framing.ExternalSender{SignatureKey: c.signer.Public(), Credential: c.identity().Credential}
}

func keyPackages(clients ...*client) []*treekem.KeyPackage {
	var kps []*treekem.KeyPackage
	for _, c := range clients {
		kps = append(kps, c.keyPackage())
	}
	return kps
}
