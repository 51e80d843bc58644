package interop

import (
	"context"
	"testing"

	"github.com/treekem/mls"
)

// TestSelf plays all scenarios against our own service.
func TestSelf(t *testing.T) {
	opt := Options{Self: true, Seed: 1, Suites: []mls.CipherSuite{1, 2}}
	report, err := Run(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Outcome != Passed {
			t.Errorf("%s: %s", r.Scenario, r.explain())
		}
	}
}
