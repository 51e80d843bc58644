//! Generates the code of the service from the proto file, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = "../internal/mlsclient";
    let proto = format!("{dir}/mls_client.proto");
    println!("cargo:rerun-if-changed={proto}");
    let files = protox::compile([&proto], [dir])?;
    tonic_prost_build::configure().build_client(false).compile_fds(files)?;
    Ok(())
}
