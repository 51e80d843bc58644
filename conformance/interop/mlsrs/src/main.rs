//! mls-rs behind the gRPC service of the MLS working group's interop runner.
//!
//!     interop-mlsrs [port]
//!
//! The first line of its output is the address at which it listens: a port of its
//! own choice if none is given, or 0. SIGINT and SIGTERM stop it.

mod change;
mod client;
mod commits;
mod convert;
mod failure;
mod identity;
mod joins;
mod member;
mod outside;
mod proposals;
mod rules;
mod service;
mod succession;
mod wire;

use std::error::Error;
use std::io::Write;
use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use service::Service;
use wire::mls_client_server::MlsClientServer;

/// The largest request: the runner allows as much.
const MAX_MESSAGE: usize = 64 << 20;

/// One thread answers one call after another: mls-rs computes and never waits.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 0,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    // Without this, each answer waits 40 ms for an acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = MlsClientServer::new(Service::new())
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, stopped()?).await?;
    Ok(())
}

/// Ends when the program is asked to stop.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}
