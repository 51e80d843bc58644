// Package conformance runs the known answers of the MLS working group, and
// makes the project's own in the same formats.
//
// The formats are those of the working group's repository mls-implementations,
// 16 kinds of files of test vectors ([Kinds]). A run goes through the code that
// applications use, never through a second implementation made for tests, and
// in both directions where the format asks for it: what a file says was signed,
// sealed or protected is opened, and what is signed, sealed or protected anew
// is opened too.
//
// Nothing is skipped. A directory that lacks one of the 16 files, a file
// without cases, a cipher suite that is not known, a field that a case lacks
// and a field that no check has read are all failures.
//
// [Run] runs files, directories, or the project's own vectors, which are
// embedded; [Generate] makes the latter; [Fetch] downloads the working group's
// files and holds them against the SHA-256 hashes in [Pinned].
//
// Failures name the case and the field. They hold no values: although known
// answers are public, the report of a run is no place for keys.
package conformance
