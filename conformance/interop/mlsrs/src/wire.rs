//! The generated types of the gRPC service; a few that it has no call for.
#![allow(dead_code)]
tonic::include_proto!("mls_client");
