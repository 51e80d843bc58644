package compare

import (
	"testing"

	"github.com/treekem/mls/sim/protocols"
)

// TestWorkloads has every design run a workload in which all members read every
// message they should, joins, leaves and offline spells included.
func TestWorkloads(t *testing.T) {
	load, _ := Preset("family")
	for _, d := range protocols.All() {
		t.Run(d.Name, func(t *testing.T) {
			costs, err := Play(t.Context(), d, load, nil)
			if err != nil {
				t.Fatal(err)
			}
			if costs.Reads < load.Messages*5 {
				t.Errorf("%d messages read", costs.Reads)
			}
			if costs.Update.Count > 0 && costs.Total().ServerOut == 0 {
				t.Error("nothing was counted")
			}
		})
	}
}
