package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/treekem/mls"
)

// TestSuites measures a small group with each kind of suite.
func TestSuites(t *testing.T) {
	var suites []*mls.Suite
	for _, id := range []mls.CipherSuite{mls.X25519_AES128GCM_SHA256_Ed25519, mls.MLKEM768_AES256GCM_SHA384_MLDSA65} {
		s, err := mls.LookupSuite(id)
		if err != nil {
			t.Fatal(err)
		}
		suites = append(suites, s)
	}
	results, err := RunSuites(t.Context(), Config{Members: []int{4}, Time: time.Millisecond}, suites)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Members != 4 || min(r.Commit, r.KeyPackage, r.WelcomeApart) < 200 || r.Welcome < r.WelcomeApart || r.Message < messageSize ||
			min(r.Create, r.Process, r.Join, r.Protect, r.Unprotect) <= 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(results) != 2 || results[1].KeyPackage < 2*1184+2*3309 {
		t.Errorf("a key package with ML-KEM and ML-DSA is smaller than its parts: %+v", results)
	}
	var table bytes.Buffer
	if err := WriteSuites(&table, results); err != nil || strings.Count(table.String(), "\n") != 5 {
		t.Errorf("%v\n%s", err, &table)
	}
	page := []byte("before\n" + suitesBegin + ": x -->\nold\n" + suitesEnd + "after\n")
	for range 2 {
		if page, err = ReplaceSuites(page, results, "a command"); err != nil {
			t.Fatal(err)
		}
	}
	text := string(page)
	if !strings.HasPrefix(text, "before\n"+suitesBegin) || !strings.HasSuffix(text, suitesEnd+"after\n") || strings.Contains(text, "old") ||
		strings.Count(text, "| 1 |") != 1 || strings.Count(text, "a command") != 2 {
		t.Errorf("the page:\n%s", text)
	}
	if _, err := ReplaceSuites([]byte("nothing"), results, ""); err == nil {
		t.Error("a table is put into a page that has no place for one")
	}
}
