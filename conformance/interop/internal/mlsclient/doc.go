// Package mlsclient holds the generated code of the interop service, whose
// definition is mls_client.proto.
//
// To generate it anew, install protoc (Debian: apt-get install protobuf-compiler)
// and the two plugins, and run "go generate" here:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
package mlsclient

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative mls_client.proto
