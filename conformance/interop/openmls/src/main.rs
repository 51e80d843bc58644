//! Serves OpenMLS to an interop runner. The address is printed once the port is
//! open; SIGINT or SIGTERM ends it.

mod client;
mod convert;
mod member;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use tonic::transport::{server::TcpIncoming, Server};
use tonic::{Request, Response, Status};

use client::Client;

/// The messages and the service of mls_client.proto.
pub mod proto {
    #![allow(clippy::all)]
    tonic::include_proto!("mls_client");
}
use proto::mls_client_server::{MlsClient, MlsClientServer};
use proto::*;

/// What bounds a message: the same as with the other clients.
const MAX_MESSAGE: usize = 64 << 20;

/// The service: one call at a time.
struct Service(Mutex<Client>);

impl Service {
    /// answer runs a call. A panic in the library is the answer to that call alone.
    fn answer<Resp>(&self, call: impl FnOnce(&mut Client) -> Result<Resp, Status>) -> Result<Response<Resp>, Status> {
        let mut client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        catch_unwind(AssertUnwindSafe(|| call(&mut client)))
            .unwrap_or_else(|_| Err(Status::internal("OpenMLS panics")))
            .map(Response::new)
    }
}

/// serve makes each call of the service one of the method of Client that has its name.
macro_rules! serve {
    ($($rpc:ident($req:ident) -> $resp:ident;)*) => {
        #[tonic::async_trait]
        impl MlsClient for Service {
            $(async fn $rpc(&self, r: Request<$req>) -> Result<Response<$resp>, Status> {
                self.answer(|client| client.$rpc(r.into_inner()))
            })*
        }
    };
}

serve! {
    name(NameRequest) -> NameResponse;
    supported_ciphersuites(SupportedCiphersuitesRequest) -> SupportedCiphersuitesResponse;
    create_group(CreateGroupRequest) -> CreateGroupResponse;
    create_key_package(CreateKeyPackageRequest) -> CreateKeyPackageResponse;
    join_group(JoinGroupRequest) -> JoinGroupResponse;
    external_join(ExternalJoinRequest) -> ExternalJoinResponse;
    group_info(GroupInfoRequest) -> GroupInfoResponse;
    state_auth(StateAuthRequest) -> StateAuthResponse;
    export(ExportRequest) -> ExportResponse;
    protect(ProtectRequest) -> ProtectResponse;
    unprotect(UnprotectRequest) -> UnprotectResponse;
    store_psk(StorePskRequest) -> StorePskResponse;
    add_proposal(AddProposalRequest) -> ProposalResponse;
    update_proposal(UpdateProposalRequest) -> ProposalResponse;
    remove_proposal(RemoveProposalRequest) -> ProposalResponse;
    external_psk_proposal(ExternalPskProposalRequest) -> ProposalResponse;
    resumption_psk_proposal(ResumptionPskProposalRequest) -> ProposalResponse;
    group_context_extensions_proposal(GroupContextExtensionsProposalRequest) -> ProposalResponse;
    commit(CommitRequest) -> CommitResponse;
    handle_commit(HandleCommitRequest) -> HandleCommitResponse;
    handle_pending_commit(HandlePendingCommitRequest) -> HandleCommitResponse;
    re_init_proposal(ReInitProposalRequest) -> ProposalResponse;
    re_init_commit(CommitRequest) -> CommitResponse;
    handle_pending_re_init_commit(HandlePendingCommitRequest) -> HandleReInitCommitResponse;
    handle_re_init_commit(HandleCommitRequest) -> HandleReInitCommitResponse;
    re_init_welcome(ReInitWelcomeRequest) -> CreateSubgroupResponse;
    handle_re_init_welcome(HandleReInitWelcomeRequest) -> JoinGroupResponse;
    create_branch(CreateBranchRequest) -> CreateSubgroupResponse;
    handle_branch(HandleBranchRequest) -> HandleBranchResponse;
    new_member_add_proposal(NewMemberAddProposalRequest) -> NewMemberAddProposalResponse;
    create_external_signer(CreateExternalSignerRequest) -> CreateExternalSignerResponse;
    add_external_signer(AddExternalSignerRequest) -> ProposalResponse;
    external_signer_proposal(ExternalSignerProposalRequest) -> ProposalResponse;
    free(FreeRequest) -> FreeResponse;
}

async fn stopped() {
    let mut term = signal(SignalKind::terminate()).expect("signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(0), |p| p.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{}", listener.local_addr()?);
    // Without this, each answer waits 40 ms for an acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = MlsClientServer::new(Service(Mutex::new(Client::default())))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, stopped()).await?;
    Ok(())
}
