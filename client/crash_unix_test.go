//go:build unix

package client_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
	"github.com/treekem/mls/treekem"
)

// The crash test lets a process work on the stores of two members of one large group
// and kills it, again and again: at a chosen write of a store, before, within or
// after it, or at any instant. A file stands for the delivery service: what was
// handed out is what is in it. After each crash the process that follows first
// verifies everything.
//
// MLS_CRASHES says how often; the default is for every day.
const (
	crashesEnv     = "MLS_CRASHES"
	crashDirEnv    = "MLS_CRASH_DIR"
	crashSeedEnv   = "MLS_CRASH_SEED"
	crashAtEnv     = "MLS_CRASH_AT" // "write phase"
	defaultCrashes = 10
	// perStory is after how many crashes a fresh group begins.
	perStory = 100
)

func TestCrash(t *testing.T) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crashChild(t, dir)
		return
	}
	crashes := defaultCrashes
	if s := os.Getenv(crashesEnv); s != "" {
		var err error
		crashes, err = strconv.Atoi(s)
		check(t, err)
	}
	if testing.Short() {
		crashes = 3
	}
	rng := rand.New(rand.NewPCG(uint64(crashes), 7))
	killed, writes := 0, 0
	for done := 0; done < crashes; done += perStory {
		dir := t.TempDir()
		// The group is made by a run that nobody kills.
		if runChild(t, dir, rng, "") {
			t.Fatal("the first run was killed")
		}
		for range min(perStory, crashes-done) {
			how := "any instant"
			if rng.IntN(3) > 0 {
				how = fmt.Sprintf("%d %d", rng.IntN(12), rng.IntN(3))
				writes++
			}
			if runChild(t, dir, rng, how) {
				killed++
			}
		}
		if runChild(t, dir, rng, "") {
			t.Fatal("the last run was killed")
		}
		messages, epochs := storyOf(t, dir)
		t.Logf("%d crashes, %d of them at a write: %d application messages, %d epochs", killed, writes, messages, epochs)
	}
	if killed < crashes*2/3 {
		t.Errorf("only %d of %d runs were killed", killed, crashes)
	}
}

// runChild runs one process, and reports whether it was killed.
func runChild(t *testing.T, dir string, rng *rand.Rand, how string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	seed := rng.Uint64()
	at := how
	if how == "any instant" {
		at = ""
	}
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir, crashSeedEnv+"="+strconv.FormatUint(seed, 10), crashAtEnv+"="+at)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	check(t, cmd.Start())
	if how == "any instant" {
		kill := time.AfterFunc(time.Duration(10+rng.IntN(150))*time.Millisecond, func() { cmd.Process.Kill() })
		defer kill.Stop()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("seed %d, killed at %q: %v\n%s", seed, how, err, out.Bytes())
	}
	return false
}

// killer is a store that kills the process at one of its updates.
type killer struct {
	store.Store
	left  *int
	phase int // 0 before, 1 within, 2 after
}

func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (k *killer) Update(ctx context.Context, f func(store.Writer) error) error {
	*k.left--
	hit := *k.left == 0
	if hit && k.phase == 0 {
		die()
	}
	err := k.Store.Update(ctx, func(tx store.Writer) error {
		err := f(tx)
		if hit && k.phase == 1 {
			die()
		}
		return err
	})
	if hit && k.phase == 2 {
		die()
	}
	return err
}

// service is the delivery service: a file of messages, each after its length. A
// message is there once all of it is.
type service struct {
	t    testing.TB
	path string
	log  [][]byte
	// taken are the epochs that have their commit.
	taken map[uint64]bool
}

func openService(t testing.TB, path string) *service {
	s := &service{t: t, path: path, taken: map[uint64]bool{}}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	whole := 0
	for r := bytes.NewReader(data); ; {
		var n uint32
		if binary.Read(r, binary.BigEndian, &n) != nil {
			break
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(r, message); err != nil {
			break
		}
		s.note(message)
		whole += 4 + int(n)
	}
	if whole < len(data) {
		check(t, os.Truncate(path, int64(whole)))
	}
	return s
}

func (s *service) note(message []byte) {
	s.log = append(s.log, message)
	if m := must(framing.Parse(message))(s.t); m.Private != nil && m.Private.ContentType == framing.ContentCommit {
		s.taken[m.Private.Epoch] = true
	}
}

// publish takes a message, unless it is a commit for an epoch that has one.
func (s *service) publish(message []byte) {
	m := must(framing.Parse(message))(s.t)
	if m.Private == nil {
		return // a Welcome of the beginning
	}
	if m.Private.ContentType == framing.ContentCommit && s.taken[m.Private.Epoch] {
		return
	}
	for _, old := range s.log {
		if bytes.Equal(old, message) {
			return
		}
	}
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check(s.t, err)
	_, err = f.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	check(s.t, errors.Join(err, f.Close()))
	s.note(message)
}

// actor is one of the two members.
type actor struct {
	t     testing.TB
	name  string
	c     *client.Client
	g     *client.Group
	inner store.Store
	dir   string
	// at is how much of the service's log is acknowledged.
	at int
}

var crashKey = store.RawKey(mls.NewSecret(bytes.Repeat([]byte{9}, store.KeySize)))

// openActor opens a member's store. Text and place of each message that it reads
// are written with the batch that uses up the key.
func openActor(t testing.TB, dir, name string, left *int, phase int) *actor {
	a := &actor{t: t, name: name, dir: dir}
	db := must(sqlite.Open(ctx, filepath.Join(dir, name+".db"), nil))(t)
	a.inner = must(store.OpenSealed(ctx, db, crashKey, store.SealOptions{}))(t)
	a.c = must(client.Open(ctx, client.Config{
		Store: &killer{a.inner, left, phase},
		Group: group.Config{Authenticate: group.InsecureAnyCredential},
		Save: func(tx store.Writer, _ []byte, o client.Outcome) error {
			r, ok := o.(*client.MessageReceived)
			if !ok {
				return nil
			}
			place := fmt.Sprintf("%d/%d", r.Epoch, r.Generation)
			if old, err := tx.Get([]byte("key/" + place)); !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("the key %s was used for %q and for %q: %v", place, old, r.Data, err)
			}
			if err := tx.Put([]byte("key/"+place), r.Data); err != nil {
				return err
			}
			return tx.Put(append([]byte("text/"), r.Data...), nil)
		},
	}))(t)
	if n, err := os.ReadFile(filepath.Join(dir, name+".at")); err == nil {
		a.at = must(strconv.Atoi(string(n)))(t)
	}
	return a
}

// catchUp processes what the service has, and acknowledges it.
func (a *actor) catchUp(s *service, upTo int) {
	a.t.Helper()
	for ; a.at < min(upTo, len(s.log)); a.at++ {
		o, err := a.g.Process(ctx, s.log[a.at])
		if err != nil {
			a.t.Fatalf("%s, message %d: %v", a.name, a.at, err)
		}
		switch o := o.(type) {
		case *client.NeedsRejoin, *client.Held, *client.Refused:
			a.t.Fatalf("%s, message %d: %T %+v", a.name, a.at, o, o)
		}
		path := filepath.Join(a.dir, a.name+".at")
		check(a.t, os.WriteFile(path+".new", []byte(strconv.Itoa(a.at+1)), 0o600))
		check(a.t, os.Rename(path+".new", path))
	}
}

// resend hands out what may not have left before the crash.
func (a *actor) resend(s *service) {
	for _, out := range must(a.c.Outbox(ctx))(a.t) {
		s.publish(out.Message)
		check(a.t, a.c.Sent(ctx, out.ID))
	}
}

func (a *actor) hand(s *service, out *client.Outgoing, err error) {
	a.t.Helper()
	if errors.Is(err, mls.ErrPending) {
		return
	}
	check(a.t, err)
	s.publish(out.Message)
	check(a.t, a.c.Sent(ctx, out.ID))
}

var crashGroup = []byte("the group of the crash test")

// crashChild is the process that is killed.
func crashChild(t *testing.T, dir string) {
	seed := must(strconv.ParseUint(os.Getenv(crashSeedEnv), 10, 64))(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	left, phase := -1, 0
	a, b := openActor(t, dir, "alice", &left, phase), openActor(t, dir, "bob", &left, phase)
	s := openService(t, filepath.Join(dir, "service"))
	if !prepareCrash(t, a, b) {
		t.Fatal("the group could not be made")
	}
	both := []*actor{a, b}
	verifyCrash(t, s, both)
	if at := os.Getenv(crashAtEnv); at != "" {
		_, err := fmt.Sscan(at, &left, &phase)
		check(t, err)
		left++
		for _, m := range both {
			m.c.Close() // the phase is the store's: open it again
		}
		a, b = openActor(t, dir, "alice", &left, phase), openActor(t, dir, "bob", &left, phase)
		both = []*actor{a, b}
		for _, m := range both {
			m.g = must(m.c.Group(ctx, crashGroup))(t)
		}
	}
	for range 12 {
		crashStep(s, both[rng.IntN(2)], rng)
	}
	for _, m := range both {
		check(t, m.c.Close())
	}
}

// crashStep is something that a member may do.
func crashStep(s *service, m *actor, rng *rand.Rand) {
	m.t.Helper()
	m.catchUp(s, len(s.log)-rng.IntN(3))
	switch rng.IntN(5) {
	case 0, 1:
		message, err := m.g.Send(ctx, fmt.Appendf(nil, "%s %d %d", m.name, len(s.log), rng.Uint64()), nil)
		if !errors.Is(err, mls.ErrPending) {
			check(m.t, err)
			s.publish(message)
		}
	case 2:
		out, err := m.g.Propose(ctx, group.ExtensionsProposal(nil), nil)
		m.hand(s, out, err)
	case 3, 4:
		out, err := m.g.Commit(ctx, group.CommitOptions{Proposals: m.crashChange(rng)})
		m.hand(s, out, err)
	}
}

// crashChange is what a commit changes of the members who are not watched: often
// nothing.
func (a *actor) crashChange(rng *rand.Rand) []framing.Proposal {
	switch rng.IntN(4) {
	case 0:
		return strangers(a.t, 1+rng.IntN(3))
	case 1:
		var others []mls.LeafIndex
		check(a.t, a.g.View(ctx, func(g *group.Group) error {
			for i := range g.Members() {
				if i > 1 {
					others = append(others, i)
				}
			}
			return nil
		}))
		if len(others) > 0 {
			return []framing.Proposal{group.RemoveProposal(others[rng.IntN(len(others))])}
		}
	}
	return nil
}

// prepareCrash makes the group of two, unless it is there.
func prepareCrash(t *testing.T, a, b *actor) bool {
	var err error
	if a.g, err = a.c.Group(ctx, crashGroup); err == nil {
		b.g = must(b.c.Group(ctx, crashGroup))(t)
		return true
	}
	var ids []client.IdentityID
	for _, m := range []*actor{a, b} {
		ids = append(ids, must(m.c.AddIdentity(ctx, client.IdentityOptions{Suite: suite(t), Credential: treekem.BasicCredential([]byte(m.name))}))(t))
	}
	kp := must(framing.Parse(must(b.c.NewKeyPackages(ctx, ids[1], client.KeyPackageOptions{}))(t)[0]))(t).KeyPackage
	a.g = must(a.c.CreateGroup(ctx, ids[0], client.GroupOptions{GroupID: crashGroup}))(t)
	// With so many more the tree has several pages.
	adds := append([]framing.Proposal{group.AddProposal(kp)}, strangers(t, 30)...)
	must(a.g.Commit(ctx, group.CommitOptions{Proposals: adds}))(t)
	welcome := must(a.g.Accept(ctx))(t).Welcome
	must(b.c.Receive(ctx, welcome.Message))(t)
	check(t, a.c.Sent(ctx, welcome.ID))
	b.g = must(b.c.Group(ctx, crashGroup))(t)
	return true
}

// verifyCrash asserts what has to hold after every crash: nothing that was
// handed out is lost, no key was used twice, the members agree, and their stores
// are clean.
func verifyCrash(t *testing.T, s *service, both []*actor) {
	for _, m := range both {
		if problems := must(client.Check(ctx, m.inner))(t); len(problems) > 0 {
			t.Fatalf("the store of %s: %q", m.name, problems)
		}
		m.resend(s)
	}
	for _, m := range both {
		m.catchUp(s, len(s.log))
	}
	one, other := must(both[0].g.Info(ctx))(t), must(both[1].g.Info(ctx))(t)
	if one.Epoch != other.Epoch || !bytes.Equal(one.EpochAuthenticator, other.EpochAuthenticator) {
		t.Fatalf("epochs %d and %d, or they disagree", one.Epoch, other.Epoch)
	}
	sent := 0
	for _, message := range s.log {
		if m := must(framing.Parse(message))(t); m.Private.ContentType == framing.ContentApplication {
			sent++
		}
	}
	read := 0
	for _, m := range both {
		check(t, m.c.View(ctx, func(tx store.Reader) error {
			for e, err := range tx.Scan([]byte("text/")) {
				if err != nil {
					return err
				}
				if strings.HasPrefix(string(e.Key), "text/"+m.name) {
					t.Fatalf("%s has read its own %q", m.name, e.Key)
				}
				read++
			}
			return nil
		}))
	}
	if sent != read {
		t.Fatalf("%d application messages were handed out, %d were read", sent, read)
	}
}

// storyOf counts the application messages and the commits that the service has.
func storyOf(t *testing.T, dir string) (messages, epochs int) {
	s := openService(t, filepath.Join(dir, "service"))
	for _, message := range s.log {
		if m := must(framing.Parse(message))(t); m.Private.ContentType == framing.ContentApplication {
			messages++
		}
	}
	return messages, len(s.taken)
}
