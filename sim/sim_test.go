package sim

import (
	"context"
	"os"
	"testing"
)

func TestRunSmall(t *testing.T) {
	r, err := Run(context.Background(), Config{Sizes: Doublings(2, 1024)})
	if r != nil {
		r.WriteTable(os.Stdout)
	}
	if err != nil {
		t.Fatal(err)
	}
}
