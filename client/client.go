package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/store"
)

// Config says how a client works.
type Config struct {
	// Store holds everything. It is required, and belongs to this client as
	// long as that is open.
	Store store.Store

	// Group is what the application decides for its groups. Its Authenticate is
	// required. Its PSK is asked for pre-shared keys that the store does not
	// have.
	Group group.Config

	// Signers are signature keys that are kept elsewhere, such as in a device.
	// Those that the client makes or is given as *mls.SignaturePrivateKey are
	// in the store.
	Signers []mls.Signer

	// Save, if set, is called in the batch that makes an outcome durable, with
	// a writer for the application's own keys: what it writes is there if and
	// only if the outcome is. An error undoes the operation.
	Save func(tx store.Writer, groupID []byte, o Outcome) error

	// SaveOutgoing, if set, is called in the batch that puts a message of ours
	// into the outbox, with its number and a writer for the application's own
	// keys: to note what the message is for, such as where it is to go. An
	// error undoes the operation.
	SaveOutgoing func(tx store.Writer, o *Outgoing) error

	// Notify, if set, is told of each outcome after it is durable, one at a
	// time and for each group in order. It may call the client.
	Notify func(Event)

	// MaxHeld and MaxHeldBytes bound the messages of epochs to come that are
	// held for each group. Zero stands for the defaults.
	MaxHeld      int
	MaxHeldBytes int
}

// Defaults of Config.
const (
	// DefaultMaxHeld and DefaultMaxHeldBytes are more than arrives while one
	// commit is late.
	DefaultMaxHeld      = 1000
	DefaultMaxHeldBytes = 16 << 20
)

// Event is an outcome in a group.
type Event struct {
	Group   []byte
	Outcome Outcome
}

// What a client cannot do.
var (
	// ErrUnknownGroup: the client is not in a group of that identifier.
	ErrUnknownGroup = errors.New("client: no such group")
	// ErrUnknownIdentity: the client has no such identity.
	ErrUnknownIdentity = errors.New("client: no such identity")
	// ErrIdentityInUse: a group or a key package needs the identity.
	ErrIdentityInUse = errors.New("client: the identity is in use")
	// ErrGroupExists: the client is in a group of that identifier.
	ErrGroupExists = errors.New("client: there is a group of that identifier")
	// ErrNoKeyPackage: a Welcome is for none of the client's key packages, or
	// for one that was used.
	ErrNoKeyPackage = errors.New("client: the Welcome is for none of our key packages")
	// ErrNothingPending: there is no commit to accept or to discard.
	ErrNothingPending = errors.New("client: no commit is pending")
	// ErrHoldFull: too many messages of epochs to come are held already. The
	// message is not dealt with.
	ErrHoldFull = errors.New("client: too many messages of later epochs are held")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("client: closed")
)

// Client is a client with all of its groups. It is safe for concurrent use.
type Client struct {
	cfg   Config
	store store.Store

	mu         sync.Mutex // guards the fields below
	identities map[IdentityID]*identity
	groups     map[string]*Group // by name
	closed     bool

	// entering serializes creating and joining groups, identifying changes of the
	// identities. Who takes both takes entering first.
	entering, identifying sync.Mutex

	events events
}

// Open opens the client that the store holds; an empty store becomes one. Key
// packages that have expired are removed.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Store == nil {
		return nil, errors.New("client: Config.Store is nil")
	}
	if cfg.Group.Authenticate == nil {
		return nil, errors.New("client: Config.Group.Authenticate is nil: say how credentials are validated (group.InsecureAnyCredential accepts all)")
	}
	if cfg.Group.Time == nil {
		cfg.Group.Time = time.Now
	}
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = DefaultMaxHeld
	}
	if cfg.MaxHeldBytes == 0 {
		cfg.MaxHeldBytes = DefaultMaxHeldBytes
	}
	c := &Client{cfg: cfg, store: cfg.Store, identities: make(map[IdentityID]*identity), groups: make(map[string]*Group)}
	if err := c.checkStore(ctx); err != nil {
		return nil, err
	}
	if err := c.loadIdentities(ctx); err != nil {
		return nil, err
	}
	if err := c.removeExpired(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// checkStore marks an empty store as a client's and refuses any other.
func (c *Client) checkStore(ctx context.Context) error {
	err := c.store.View(ctx, func(tx store.Reader) error {
		var meta metaRecord
		return get(tx, []byte(keyMeta), &meta)
	})
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if sealed, err := store.IsSealed(ctx, c.store); err != nil {
		return err
	} else if sealed {
		return store.ErrSealed
	}
	return c.store.Update(ctx, func(tx store.Writer) error {
		for _, err := range tx.Scan(nil) {
			if err != nil {
				return err
			}
			return fmt.Errorf("%w: it holds data, but not a client's", store.ErrCorrupt)
		}
		return put(tx, []byte(keyMeta), &metaRecord{NextOutbox: 1})
	})
}

// Close waits for what is under way and closes the store.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	groups := make([]*Group, 0, len(c.groups))
	for _, g := range c.groups {
		groups = append(groups, g)
	}
	c.mu.Unlock()
	for _, g := range groups {
		g.lock <- struct{}{}
		g.unload()
		<-g.lock
	}
	return c.store.Close()
}

// groupConfig is the configuration of groups, with the pre-shared keys of the
// store.
func (c *Client) groupConfig(ctx context.Context) group.Config {
	cfg := c.cfg.Group
	outer := cfg.PSK
	cfg.PSK = func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
		if id.Type == keyschedule.PSKExternal {
			secret, err := c.findPSK(context.WithoutCancel(ctx), id.PSKID)
			if err == nil {
				return secret, nil
			}
			if !errors.Is(err, store.ErrNotFound) {
				return mls.Secret{}, &storeError{err}
			}
		}
		if outer == nil {
			return mls.Secret{}, store.ErrNotFound
		}
		return outer(id)
	}
	return cfg
}

// storeError is the store's error in the place of a pre-shared key.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

// told reports whether the application is told of outcomes that no call returns.
func (c *Client) told() bool { return c.cfg.Notify != nil || c.cfg.Save != nil }

// Groups lists the identifiers of the groups, those that were left included. The
// error names the record of each that cannot be read, and the list has the others.
func (c *Client) Groups(ctx context.Context) (ids [][]byte, err error) {
	var damage []error
	err = c.store.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan([]byte(keyHead)) {
			if err != nil && e.Key == nil {
				return err
			}
			var head headRecord
			if err == nil {
				err = decode(e.Value, &head)
			}
			if err != nil {
				damage = append(damage, fmt.Errorf("client: a group, %q: %w", e.Key, err))
				continue
			}
			ids = append(ids, head.Group)
		}
		return nil
	})
	return ids, errors.Join(append(damage, err)...)
}

// Group returns the group with an identifier. One that is damaged can be
// forgotten ([Group.Forget]).
func (c *Client) Group(ctx context.Context, id []byte) (*Group, error) {
	err := c.store.View(ctx, func(tx store.Reader) error {
		_, err := tx.Get(headKey(groupName(id)))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrUnknownGroup
	}
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return nil, err
	}
	return c.handle(id)
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// handle returns the one handle of a group.
func (c *Client) handle(id []byte) (*Group, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	name := groupName(id)
	g, ok := c.groups[name]
	if !ok {
		g = &Group{c: c, id: append([]byte(nil), id...), name: name, lock: make(chan struct{}, 1)}
		c.groups[name] = g
	}
	return g, nil
}

// prefixed gives the application keys of its own.
type prefixed struct{ store.Writer }

func (p prefixed) key(key []byte) []byte { return append([]byte(keyApplication), key...) }

func (p prefixed) Get(key []byte) ([]byte, error) { return p.Writer.Get(p.key(key)) }
func (p prefixed) Put(key, value []byte) error    { return p.Writer.Put(p.key(key), value) }
func (p prefixed) Delete(key []byte) error        { return p.Writer.Delete(p.key(key)) }

func (p prefixed) Scan(prefix []byte) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range p.Writer.Scan(p.key(prefix)) {
			if e.Key != nil {
				e.Key = e.Key[len(keyApplication):]
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// View lets the application read what it has written through Config.Save.
func (c *Client) View(ctx context.Context, f func(store.Reader) error) error {
	return c.store.View(ctx, func(tx store.Reader) error { return f(prefixed{readOnly{tx}}) })
}

// Update lets the application write keys of its own.
func (c *Client) Update(ctx context.Context, f func(store.Writer) error) error {
	return c.store.Update(ctx, func(tx store.Writer) error { return f(prefixed{tx}) })
}

var errReadOnly = errors.New("client: a write in a view")

type readOnly struct{ store.Reader }

func (readOnly) Put(_, _ []byte) error { return errReadOnly }
func (readOnly) Delete([]byte) error   { return errReadOnly }
