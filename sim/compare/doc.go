// Package compare runs the designs of package protocols side by side: the same
// workload for each, costs counted, every message that should be readable
// checked to be read; and the attacks carried out, with a verdict that is what
// happened in the run. It also measures when the tree of package group stops
// being logarithmic, and draws all of it as one page of HTML.
//
// Schedules follow from a seed. Keys are random, so sizes can differ between
// runs by a few bytes, and times do.
package compare
