//! Generates the gRPC service from the proto file of the runner, and looks up which
//! mls-rs it serves. protox parses the file, so that no protoc has to be installed.

use std::error::Error;

const DIR: &str = "../internal/mlsclient";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={DIR}/mls_client.proto");
    let files = protox::compile(["mls_client.proto"], [DIR])?;
    tonic_prost_build::configure().build_client(false).build_transport(false).compile_fds(files)?;
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rustc-env=MLS_RS_VERSION={}", locked("mls-rs")?);
    Ok(())
}

/// The version of a package in Cargo.lock.
fn locked(name: &str) -> Result<String, Box<dyn Error>> {
    let lock = std::fs::read_to_string("Cargo.lock")?;
    let after = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1);
    let version = after.and_then(|rest| rest.split('"').next());
    Ok(version.ok_or_else(|| format!("Cargo.lock has no {name}"))?.to_string())
}
