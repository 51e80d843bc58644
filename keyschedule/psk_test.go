package keyschedule

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// testPSKs returns n PSKs of all types and usages in turn, each different.
func testPSKs(s *mls.Suite, n int) []PSK {
	psks := make([]PSK, n)
	for i := range psks {
		number := []byte{byte(i >> 8), byte(i)}
		id := PreSharedKeyID{Type: PSKExternal, PSKID: number}
		if i%4 != 0 {
			id = PreSharedKeyID{Type: PSKResumption, Usage: ResumptionUsage(i % 4), PSKGroupID: number, PSKEpoch: uint64(i)}
		}
		id.PSKNonce = fill(byte(i), s.HashSize())
		psks[i] = PSK{id, secretOf(fill(byte(i), 20))}
	}
	return psks
}

func mustPSKSecret(t *testing.T, s *mls.Suite, psks []PSK) mls.Secret {
	t.Helper()
	psk, err := NewPSKSecret(s, psks)
	if err != nil {
		t.Fatal(err)
	}
	return psk.TestingOnlySecret(s)
}

func TestPSKSecretDependsOnEverything(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		want := mustPSKSecret(t, s, testPSKs(s, 4))
		if !mustPSKSecret(t, s, testPSKs(s, 4)).Equal(want) {
			t.Error("the same PSKs give another psk_secret")
		}
		for name, edit := range map[string]func(psks []PSK) []PSK{
			"order":         func(p []PSK) []PSK { slices.Reverse(p); return p },
			"one fewer":     func(p []PSK) []PSK { return p[:3] },
			"key":           func(p []PSK) []PSK { p[0].Secret = secretOf([]byte("other")); return p },
			"id":            func(p []PSK) []PSK { p[0].ID.PSKID = []byte("other"); return p },
			"nonce":         func(p []PSK) []PSK { p[3].ID.PSKNonce = NewPSKNonce(s); return p },
			"usage":         func(p []PSK) []PSK { p[1].ID.Usage = UsageBranch; return p },
			"epoch":         func(p []PSK) []PSK { p[1].ID.PSKEpoch++; return p },
			"group":         func(p []PSK) []PSK { p[2].ID.PSKGroupID = nil; return p },
			"type":          func(p []PSK) []PSK { p[0].ID.Type, p[0].ID.Usage = PSKResumption, UsageReInit; return p },
			"no PSK at all": func([]PSK) []PSK { return nil },
		} {
			if mustPSKSecret(t, s, edit(testPSKs(s, 4))).Equal(want) {
				t.Errorf("%s makes no difference", name)
			}
		}
	})
}

func TestNoPSKIsAllZero(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		psk, err := NewPSKSecret(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		zeros := mls.ZeroSecret(s.HashSize())
		if !psk.TestingOnlySecret(s).Equal(zeros) || !(PSKSecret{}).TestingOnlySecret(s).Equal(zeros) {
			t.Error("psk_secret of no PSKs is not all zero")
		}
	})
}

func TestPSKCount(t *testing.T) {
	s := suite1(t)
	psks := testPSKs(s, MaxPSKs+1)
	_, err := NewPSKSecret(s, psks)
	wantRule(t, err, "8.4/psk-count")
	if _, err := NewPSKSecret(s, psks[:MaxPSKs]); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestPSKNonceLength(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		for _, n := range []int{0, s.HashSize() - 1, s.HashSize() + 1} {
			psks := testPSKs(s, 3)
			psks[2].ID.PSKNonce = make([]byte, n)
			wantRule(t, psks[2].ID.CheckNonce(s), "8.4/psk-nonce-length")
			_, err := NewPSKSecret(s, psks)
			wantRule(t, err, "8.4/psk-nonce-length")
		}
		id := PreSharedKeyID{Type: PSKExternal, PSKNonce: NewPSKNonce(s)}
		if err := id.CheckNonce(s); err != nil {
			t.Error(err)
		}
		if bytes.Equal(id.PSKNonce, NewPSKNonce(s)) {
			t.Error("two nonces are the same")
		}
	})
}

func TestPSKMissing(t *testing.T) {
	s := suite1(t)
	psks := testPSKs(s, 2)
	psks[1].Secret = mls.Secret{}
	_, err := NewPSKSecret(s, psks)
	wantRule(t, err, "8.4/psk-missing")

	psks[1].Secret = mls.ZeroSecret(0) // an empty key is one
	if _, err := NewPSKSecret(s, psks); err != nil {
		t.Error(err)
	}
}

func TestPSKUnknownType(t *testing.T) {
	s := suite1(t)
	for _, edit := range []func(*PreSharedKeyID){
		func(id *PreSharedKeyID) { id.Type = 0 },
		func(id *PreSharedKeyID) { id.Type = 3 },
		func(id *PreSharedKeyID) { id.Usage = 0 },
		func(id *PreSharedKeyID) { id.Usage = 4 },
	} {
		psks := testPSKs(s, 2)
		edit(&psks[1].ID)
		_, err := NewPSKSecret(s, psks)
		wantErr(t, "encoding", err, mls.ErrMalformed)
	}
}

func TestPreSharedKeyIDRoundTrip(t *testing.T) {
	for _, psk := range testPSKs(suite1(t), 8) {
		p, err := wire.Marshal(psk.ID)
		if err != nil {
			t.Fatal(err)
		}
		var got PreSharedKeyID
		if err := wire.Unmarshal(p, &got); err != nil {
			t.Fatal(err)
		}
		if !got.Equal(psk.ID) {
			t.Errorf("%v comes back as %v", psk.ID, got)
		}
		for n := range p {
			if err := wire.Unmarshal(p[:n], &got); !errors.Is(err, mls.ErrMalformed) {
				t.Fatalf("%d of %d bytes: %v, want ErrMalformed", n, len(p), err)
			}
		}
		if err := wire.Unmarshal(append(p, 0), &got); !errors.Is(err, mls.ErrMalformed) {
			t.Errorf("a trailing byte: %v, want ErrMalformed", err)
		}
	}
}

// TestPreSharedKeyIDBytes pins the encodings to the presentation language.
func TestPreSharedKeyIDBytes(t *testing.T) {
	for want, id := range map[string]PreSharedKeyID{
		"\x01\x02id\x01n": {Type: PSKExternal, PSKID: []byte("id"), PSKNonce: []byte("n")},
		"\x02\x01\x01g\x01\x02\x03\x04\x05\x06\x07\x08\x00": {Type: PSKResumption, Usage: UsageApplication, PSKGroupID: []byte("g"), PSKEpoch: 0x0102030405060708},
		"\x02\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00":  {Type: PSKResumption, Usage: UsageReInit},
		"\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00":  {Type: PSKResumption, Usage: UsageBranch},
	} {
		got, err := wire.Marshal(id)
		if err != nil || string(got) != want {
			t.Errorf("%v: %x, %v, want %x", id, got, err, want)
		}
	}
	for name, bad := range map[string]string{
		"type 0":    "\x00\x02id\x01n",
		"type 3":    "\x03\x02id\x01n",
		"usage 0":   "\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"usage 4":   "\x02\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"long form": "\x01\x40\x02id\x01n",
	} {
		var id PreSharedKeyID
		err := wire.Unmarshal([]byte(bad), &id)
		wantErr(t, name, err, mls.ErrMalformed)
	}
}

func TestPreSharedKeyIDEqual(t *testing.T) {
	s := suite1(t)
	psks := testPSKs(s, 8)
	for i, a := range psks {
		for j, b := range psks {
			if a.ID.Equal(b.ID) != (i == j) {
				t.Errorf("PSK %d equals PSK %d: %v", i, j, i != j)
			}
		}
	}
	// Fields of the other type are not part of the id.
	a, b := psks[0].ID, psks[0].ID
	b.PSKEpoch, b.Usage = 7, UsageBranch
	if !a.Equal(b) {
		t.Error("fields of resumption PSKs tell external ones apart")
	}
	for name, edit := range map[string]func(*PreSharedKeyID){
		"nonce": func(id *PreSharedKeyID) { id.PSKNonce = nil },
		"usage": func(id *PreSharedKeyID) { id.Usage++ },
		"group": func(id *PreSharedKeyID) { id.PSKGroupID = nil },
		"epoch": func(id *PreSharedKeyID) { id.PSKEpoch++ },
	} {
		c := psks[1].ID
		edit(&c)
		if c.Equal(psks[1].ID) {
			t.Errorf("%s makes no difference", name)
		}
	}
}

func TestPSKNames(t *testing.T) {
	got := PSKExternal.String() + PSKResumption.String() + PSKType(9).String() +
		UsageApplication.String() + UsageReInit.String() + UsageBranch.String() + ResumptionUsage(9).String()
	if got != "externalresumptionPSKType(9)applicationreinitbranchResumptionUsage(9)" {
		t.Error(got)
	}
}
