package mls

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	suitesDoc   = "docs/suites.md"
	tableBegins = "<!-- table of the suites: go test -run TestSuitesDoc . -update -->\n"
	tableEnds   = "<!-- end of the table -->\n"
)

// TestSuitesDoc holds the table of docs/suites.md against the one of the code.
func TestSuitesDoc(t *testing.T) {
	data, err := os.ReadFile(suitesDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), tableBegins)
	got, tail, closed := strings.Cut(rest, tableEnds)
	if !ok || !closed {
		t.Fatalf("%s has no table", suitesDoc)
	}
	want := suitesTable(t)
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		if err := os.WriteFile(suitesDoc, []byte(head+tableBegins+want+tableEnds+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s has another table than the code: go test -run TestSuitesDoc . -update", suitesDoc)
	}
}

func suitesTable(t *testing.T) string {
	t.Helper()
	kems := map[uint16]string{
		0x0010: "DHKEM(P-256)", 0x0011: "DHKEM(P-384)", 0x0012: "DHKEM(P-521)", 0x0020: "DHKEM(X25519)", 0x0021: "DHKEM(X448)",
		0x0041: "ML-KEM-768", 0x0042: "ML-KEM-1024", 0x0050: "MLKEM768-P256", 0x0051: "MLKEM1024-P384", 0x647a: "X-Wing",
	}
	aeads := map[aeadAlg]string{
		aeadAES128GCM: "AES128-GCM", aeadAES256GCM: "AES256-GCM", aeadChaCha20Poly1305: "ChaCha20-Poly1305",
	}
	hashes := map[hashAlg]string{hashSHA256: "SHA-256", hashSHA384: "SHA-384", hashSHA512: "SHA-512"}
	var b strings.Builder
	b.WriteString("\n| code point | suite | KEM | AEAD | hash, HKDF | signature |\n|---|---|---|---|---|---|\n")
	for _, s := range Suites() {
		id, _ := kemOf(t, s)
		fmt.Fprintf(&b, "| %s | `%s` | %s (%#04x) | %s | %s | `%v` (%#04x) |\n", number(s.ID()), s, kems[id], id,
			aeads[s.aead], hashes[s.hash], s.SignatureScheme(), uint16(s.SignatureScheme()))
	}
	b.WriteString("\nSizes in bytes:\n\n| KEM | public key | KEM output | private key |\n|---|---|---|---|\n")
	var seen []uint16
	for _, s := range Suites() {
		id, _ := kemOf(t, s)
		if slices.Contains(seen, id) {
			continue
		}
		seen = append(seen, id)
		k := mustKey(t, s)
		enc, _, err := s.ExternalInit(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", kems[id], len(k.Public()), len(enc), k.Secret().Len())
	}
	b.WriteString("\n| signature | public key | signature | private key |\n|---|---|---|---|\n")
	var schemes []SignatureScheme
	for _, s := range Suites() {
		if slices.Contains(schemes, s.SignatureScheme()) {
			continue
		}
		schemes = append(schemes, s.SignatureScheme())
		k, err := s.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| `%v` | %d | %s | %d |\n", s.SignatureScheme(), len(k.Public()), signatureSize(t, s, k), k.Secret().Len())
	}
	return b.String() + "\n"
}

func number(id CipherSuite) string {
	if id < firstPrivateUse {
		return fmt.Sprint(uint16(id))
	}
	return codePoint(uint16(id))
}

// signatureSize returns the size of a signature: the greatest one, if DER makes
// it vary.
func signatureSize(t *testing.T, s *Suite, k *SignaturePrivateKey) string {
	t.Helper()
	der := map[SignatureScheme]int{SignatureECDSAP256SHA256: 72, SignatureECDSAP384SHA384: 104, SignatureECDSAP521SHA512: 139}
	most, varies := der[s.SignatureScheme()]
	for range 20 {
		sig, err := k.Sign([]byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if !varies {
			return fmt.Sprint(len(sig))
		}
		if len(sig) > most {
			t.Errorf("%v: a signature of %d bytes", s, len(sig))
		}
	}
	return fmt.Sprintf("up to %d", most)
}
