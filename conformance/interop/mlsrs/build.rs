//! Generates the gRPC service from the proto file of the runner. protox parses
//! it, so that no protoc has to be installed.

const DIR: &str = "../internal/mlsclient";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={DIR}/mls_client.proto");
    let files = protox::compile(["mls_client.proto"], [DIR])?;
    tonic_prost_build::configure().build_client(false).build_transport(false).compile_fds(files)?;
    Ok(())
}
