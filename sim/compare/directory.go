package compare

import (
	"errors"
	"sync"

	"github.com/treekem/mls/sim/protocols"
)

// directory is the server's list of everybody's keys.
type directory struct {
	mu      sync.Mutex
	bundles map[protocols.ID][]byte
	supply  map[protocols.ID]func() []byte
}

func newDirectory() *directory {
	return &directory{bundles: map[protocols.ID][]byte{}, supply: map[protocols.ID]func() []byte{}}
}

func (d *directory) Publish(id protocols.ID, bundle []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bundles[id] = bundle
}

func (d *directory) Lookup(_, id protocols.ID) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b, ok := d.bundles[id]; ok {
		return b, nil
	}
	return nil, errors.New("compare: the directory has no such user")
}

func (d *directory) Stock(id protocols.ID, supply func() []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.supply[id] = supply
}

func (d *directory) Take(_, id protocols.ID) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.supply[id]; f != nil {
		return f()
	}
	return nil
}
