package mls_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

func TestGREASE(t *testing.T) {
	// The list of RFC 9420, Section 13.5.
	list := map[uint16]bool{
		0x0a0a: true, 0x1a1a: true, 0x2a2a: true, 0x3a3a: true, 0x4a4a: true, 0x5a5a: true, 0x6a6a: true, 0x7a7a: true,
		0x8a8a: true, 0x9a9a: true, 0xaaaa: true, 0xbaba: true, 0xcaca: true, 0xdada: true, 0xeaea: true,
	}
	for v := range 1 << 16 {
		if mls.IsGREASE(uint16(v)) != list[uint16(v)] {
			t.Errorf("%#04x", v)
		}
	}
}

func TestNames(t *testing.T) {
	for want, v := range map[string]interface{ String() string }{
		"mls10": mls.MLS10, "0x0002": mls.ProtocolVersion(2),
		"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519":           mls.X25519_AES128GCM_SHA256_Ed25519,
		"MLS_256_DHKEMP384_AES256GCM_SHA384_P384":                mls.P384_AES256GCM_SHA384_P384,
		"MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519":        mls.MLKEM768X25519_AES128GCM_SHA256_Ed25519,
		"MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519":        mls.MLKEM768X25519_AES256GCM_SHA384_Ed25519,
		"MLS_128_MLKEM768P256_AES128GCM_SHA256_P256":             mls.MLKEM768P256_AES128GCM_SHA256_P256,
		"MLS_128_MLKEM768P256_AES256GCM_SHA384_P256":             mls.MLKEM768P256_AES256GCM_SHA384_P256,
		"MLS_192_MLKEM1024P384_AES256GCM_SHA384_P384":            mls.MLKEM1024P384_AES256GCM_SHA384_P384,
		"MLS_128_MLKEM768_AES256GCM_SHA384_Ed25519":              mls.MLKEM768_AES256GCM_SHA384_Ed25519,
		"MLS_128_MLKEM768_AES256GCM_SHA384_P256":                 mls.MLKEM768_AES256GCM_SHA384_P256,
		"MLS_192_MLKEM1024_AES256GCM_SHA384_P384":                mls.MLKEM1024_AES256GCM_SHA384_P384,
		"MLS_128_MLKEM768X25519_CHACHA20POLY1305_SHA384_MLDSA44": mls.MLKEM768X25519_CHACHA20POLY1305_SHA384_MLDSA44,
		"MLS_192_MLKEM768_AES256GCM_SHA384_MLDSA65":              mls.MLKEM768_AES256GCM_SHA384_MLDSA65,
		"MLS_256_MLKEM1024_AES256GCM_SHA384_MLDSA87":             mls.MLKEM1024_AES256GCM_SHA384_MLDSA87,
		"ed25519": mls.SignatureEd25519, "mldsa87": mls.SignatureMLDSA87, "0x0907": mls.SignatureScheme(0x0907),
		"0xf001": mls.CipherSuite(0xf001), "GREASE(0x1a1a)": mls.CipherSuite(0x1a1a),
		"basic": mls.CredentialBasic, "x509": mls.CredentialX509, "0x0003": mls.CredentialType(3),
		"add": mls.ProposalAdd, "update": mls.ProposalUpdate, "remove": mls.ProposalRemove, "psk": mls.ProposalPSK,
		"reinit": mls.ProposalReInit, "external_init": mls.ProposalExternalInit,
		"group_context_extensions": mls.ProposalGroupContextExtensions, "0x0000": mls.ProposalType(0), "0x0008": mls.ProposalType(8),
		"application_id": mls.ExtensionApplicationID, "ratchet_tree": mls.ExtensionRatchetTree,
		"required_capabilities": mls.ExtensionRequiredCapabilities, "external_pub": mls.ExtensionExternalPub,
		"external_senders": mls.ExtensionExternalSenders, "0x0006": mls.ExtensionType(6),
	} {
		if v.String() != want {
			t.Errorf("%q, want %q", v, want)
		}
	}
}

func TestExtensions(t *testing.T) {
	exts := []mls.Extension{{Type: 0xf00d, Data: []byte{1, 2}}, {Type: mls.ExtensionApplicationID}, {Type: 0x0a0a, Data: []byte{}}}
	var b wire.Builder
	mls.EncodeExtensions(&b, exts)
	p, err := b.Bytes()
	if err != nil || !bytes.Equal(p, []byte{11, 0xf0, 0x0d, 2, 1, 2, 0, 1, 0, 0x0a, 0x0a, 0}) {
		t.Fatalf("%x, %v", p, err)
	}
	r := wire.NewReader(p)
	got := mls.DecodeExtensions(r)
	exts[2].Data = nil // no bytes are decoded as nil
	if r.Err() != nil || !r.Empty() || !reflect.DeepEqual(got, exts) {
		t.Errorf("%v, %v", got, r.Err())
	}
	p[4] = 9
	if data, ok := mls.FindExtension(got, 0xf00d); !ok || !bytes.Equal(data, []byte{1, 2}) {
		t.Errorf("found %x, %v: the data follows the input", data, ok)
	}
	if data, ok := mls.FindExtension(got, mls.ExtensionApplicationID); !ok || len(data) != 0 {
		t.Errorf("found %x, %v", data, ok)
	}
	if _, ok := mls.FindExtension(got, mls.ExtensionRatchetTree); ok {
		t.Error("found one that isn't there")
	}
}

func TestMalformedExtensions(t *testing.T) {
	for name, p := range map[string][]byte{
		"two of one type": {8, 0, 1, 1, 'a', 0, 1, 1, 'b'},
		"cut":             {3, 0, 1, 1},
		"cut type":        {1, 0},
		"longer than p":   {4, 0, 1, 0},
	} {
		r := wire.NewReader(p)
		if got := mls.DecodeExtensions(r); got != nil || !errors.Is(r.Err(), mls.ErrMalformed) {
			t.Errorf("%s: %v, %v", name, got, r.Err())
		}
	}
	r := wire.NewReader([]byte{0})
	if got := mls.DecodeExtensions(r); got != nil || r.Err() != nil {
		t.Errorf("no extensions: %v, %v", got, r.Err())
	}
}

func TestLongListsOfExtensions(t *testing.T) {
	for _, n := range []int{15, 16, 17, 18, 1000, 65536} {
		var exts []mls.Extension
		for i := range n {
			exts = append(exts, mls.Extension{Type: mls.ExtensionType(i)})
		}
		for _, dup := range []int{-1, 0, n / 2, n - 1} {
			list := exts
			if dup >= 0 {
				list = append(exts[:n:n], mls.Extension{Type: mls.ExtensionType(dup)})
			}
			var b wire.Builder
			mls.EncodeExtensions(&b, list)
			p, err := b.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			r := wire.NewReader(p)
			got := mls.DecodeExtensions(r)
			if dup < 0 && (len(got) != n || r.Err() != nil) || dup >= 0 && !errors.Is(r.Err(), mls.ErrMalformed) {
				t.Errorf("%d extensions and again number %d: %d, %v", n, dup, len(got), r.Err())
			}
		}
	}
}

func TestHPKECiphertext(t *testing.T) {
	want := mls.HPKECiphertext{KEMOutput: []byte{1}, Ciphertext: []byte{2, 3}}
	p, err := wire.Marshal(want)
	if err != nil || !bytes.Equal(p, []byte{1, 1, 2, 2, 3}) {
		t.Fatalf("%x, %v", p, err)
	}
	var got mls.HPKECiphertext
	if err := wire.Unmarshal(p, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for n := range p {
		if err := wire.Unmarshal(p[:n], &got); !errors.Is(err, mls.ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
