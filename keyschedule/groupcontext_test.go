package keyschedule

import (
	"errors"
	"reflect"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

var testContext = GroupContext{
	Version:                 mls.MLS10,
	CipherSuite:             mls.P256_AES128GCM_SHA256_P256,
	GroupID:                 []byte("group"),
	Epoch:                   0x0102030405060708,
	TreeHash:                []byte("tree"),
	ConfirmedTranscriptHash: []byte("hash"),
	Extensions:              []mls.Extension{{Type: 0xabcd, Data: []byte("data")}, {Type: mls.ExtensionRequiredCapabilities}},
}

// TestGroupContextBytes pins the encoding to the presentation language.
func TestGroupContextBytes(t *testing.T) {
	const want = "\x00\x01\x00\x02\x05group\x01\x02\x03\x04\x05\x06\x07\x08\x04tree\x04hash" +
		"\x0a\xab\xcd\x04data\x00\x03\x00"
	got, err := testContext.Bytes()
	if err != nil || string(got) != want {
		t.Fatalf("%x, %v, want %x", got, err, want)
	}
	var back GroupContext
	if err := wire.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	clear(got) // what was decoded must not live in the input
	if !reflect.DeepEqual(back, testContext) {
		t.Errorf("%+v comes back as %+v", testContext, back)
	}
}

func TestGroupContextMalformed(t *testing.T) {
	p, err := testContext.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var g GroupContext
	for n := range p {
		if err := wire.Unmarshal(p[:n], &g); !errors.Is(err, mls.ErrMalformed) {
			t.Fatalf("%d of %d bytes: %v, want ErrMalformed", n, len(p), err)
		}
	}
	wantErr(t, "a trailing byte", wire.Unmarshal(append(p, 0), &g), mls.ErrMalformed)

	twice := testContext
	twice.Extensions = []mls.Extension{{Type: 5}, {Type: 5}}
	if p, err = twice.Bytes(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "two extensions of one type", wire.Unmarshal(p, &g), mls.ErrMalformed)
}
